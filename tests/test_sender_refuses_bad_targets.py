"""Somebody points a webhook at an address it must not reach."""

import ipaddress
import socket
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbxhub.sending.address_guard import BLOCKED, AddressGuard, Endpoint, endpoints
from pbxhub.sending.target_url import UnusableTarget, read_target
from pbxhub.testing.receivers.receiver import Received, Receiver, Reply
from tests.support.sending import LOOPBACK_TOO, PUBLIC_ONLY, Dns, post, send, sender

PUBLIC = "93.184.216.34"


def refused(url: str) -> None:
    """Refused when it is saved and when it is sent, with a sentence."""
    refusal = PUBLIC_ONLY.check_url(url)
    assert refusal is not None, url
    assert len(refusal.sentence) > 20
    answer = send(url, PUBLIC_ONLY)
    assert (answer.outcome, answer.status_code, answer.peer) == ("blocked_target", None, ""), url
    assert answer.message


def never_allowed(*addresses: str) -> None:
    for address in addresses:
        assert PUBLIC_ONLY.check_address(address, 443), address
        shown = f"[{address}]" if ":" in address else address
        refused(f"http://{shown}/")


def test_loopback_is_refused() -> None:
    never_allowed("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "::1", "::")
    refused("http://localhost/")
    refused("http://LOCALHOST./")
    refused("http://foo.localhost/")


def test_nothing_reaches_a_server_on_loopback() -> None:
    with Receiver() as receiver:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.0.0.2"):
            refused(f"http://{host}:{receiver.port}/")
        assert receiver.connections == 0


def test_private_and_reserved_ipv4_is_refused() -> None:
    never_allowed(
        "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255", "198.18.0.1",
        "198.19.255.255", "192.0.0.1", "192.88.99.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "240.0.0.1",
        "255.255.255.255", "169.254.1.1",
    )  # fmt: skip


def test_the_neighbours_of_private_networks_are_public() -> None:
    for address in (
        "9.255.255.255",
        "11.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "100.63.255.255",
        "100.128.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        PUBLIC,
        "2606:2800:220:1::1",
    ):
        assert PUBLIC_ONLY.check_address(address, 443) is None, address


def test_multicast_is_refused() -> None:
    never_allowed("224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1")


def test_metadata_services_are_refused_even_if_their_network_is_allowed() -> None:
    never_allowed("169.254.169.254", "fd00:ec2::254", "192.0.0.192", "100.100.100.200", "168.63.129.16")
    refused("http://metadata.google.internal/computeMetadata/v1/")
    everything = AddressGuard(allowed_networks=(ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")))
    for url in ("http://169.254.169.254/", "http://[fd00:ec2::254]/", "http://metadata.google.internal/"):
        assert everything.check_url(url) == BLOCKED


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0",
        "127.0.0.1.",
        "1.2.3",
        "256.1.1.1",
        "1.1.1.08",
        "0x",
        "1.1.1.1.1",
    ],
)
def test_odd_spellings_of_ipv4_are_refused(host: str) -> None:
    refused(f"http://{host}/")


@pytest.mark.parametrize(
    "host", ["①②⑦.⓪.⓪.①", "127。0。0。1", "１２７.0.0.1", "127．0．0．1", "١٢٧.0.0.1", "ⓛocalhost", "localhost。"]
)
def test_digits_dots_and_letters_in_disguise_are_refused(host: str) -> None:
    refused(f"http://{host}/")


def test_a_real_international_name_is_taken() -> None:
    target = read_target("https://пример.укр/шлях")
    assert not isinstance(target, UnusableTarget)
    assert target.host == "xn--e1afmkfd.xn--j1amh"


def test_ipv4_mapped_addresses_are_unwrapped() -> None:
    never_allowed("::ffff:7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254")
    assert PUBLIC_ONLY.check_address(f"::ffff:{PUBLIC}", 443) is None


def test_ipv4_compatible_isatap_and_site_local_are_refused() -> None:
    never_allowed("::7f00:1", "::127.0.0.1", "fe80::5efe:7f00:1", "fec0::1", "fe80::1", "fc00::1", "fd12::1")
    never_allowed("2606:2800:220:1:0:5efe:7f00:1", "2606:2800:220:1:200:5efe:a00:1")


def test_nat64_is_refused() -> None:
    never_allowed("64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b:1::1")


def test_what_is_carried_on_to_ipv4_is_judged_by_both_addresses() -> None:
    translator = AddressGuard(allowed_networks=(ipaddress.ip_network("64:ff9b::/96"),))
    for inner in ("a9fe:a9fe", "7f00:1", "a00:1"):
        assert translator.check_address(f"64:ff9b::{inner}", 443) == BLOCKED
    assert translator.check_address("64:ff9b::808:808", 443) is None
    ami = AddressGuard(
        translator.allowed_networks, forbidden=frozenset({Endpoint(ipaddress.ip_address("8.8.8.8"), 88)})
    )
    assert ami.check_address("64:ff9b::808:808", 88) == BLOCKED


def test_tunnels_and_special_ipv6_are_refused() -> None:
    never_allowed(
        "2002:7f00:1::1", "2001:0:1::1", "3fff::1", "5f00::1", "100::1", "2001:db8::1", "2001:10::1", "4000::1"
    )


def test_scope_ids_are_refused() -> None:
    refused("http://[fe80::1%25eth0]/")
    refused("http://[2606:2800:220:1::1%1]/")
    assert PUBLIC_ONLY.check_address("2606:2800:220:1::1%eth0", 443)


@pytest.mark.parametrize("answers", [[PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], ["2606:2800:220:1::1", "10.0.0.1"]])
def test_a_name_with_one_bad_address_is_refused(answers: list[str]) -> None:
    answer = send("http://shop.example/", PUBLIC_ONLY, Dns(shop_example=answers))
    assert (answer.outcome, answer.message) == ("blocked_target", send("http://127.0.0.1/", PUBLIC_ONLY).message)


def test_a_name_that_changes_between_check_and_connection_is_refused() -> None:
    dns = Dns(shop_example=[PUBLIC])
    with Receiver() as receiver, sender(PUBLIC_ONLY, dns) as one:
        url = f"http://shop.example:{receiver.port}/"
        assert PUBLIC_ONLY.check_url(url) is None
        dns.names["shop.example"] = ["127.0.0.1"]
        assert one.send(post(url)).outcome == "blocked_target"
        assert receiver.connections == 0


def test_the_connection_goes_to_the_address_that_was_checked_and_nobody_is_asked_again() -> None:
    dns = Dns(shop_example=["127.0.0.1"])
    with Receiver() as receiver, sender(dns=dns) as one:
        assert one.send(post(f"http://shop.example:{receiver.port}/")).peer == f"127.0.0.1:{receiver.port}"
        assert dns.asked == ["shop.example"]


def test_the_socket_itself_is_guarded_when_the_check_of_the_name_has_been_passed() -> None:
    """A guard that changes its mind between name and socket: the socket has the last word."""

    class Forgetful(AddressGuard):
        def check_target(self, target: object) -> None:
            return None

    with Receiver() as receiver:
        assert send(f"http://127.0.0.1:{receiver.port}/", Forgetful()).outcome == "blocked_target"
        assert receiver.connections == 0


def test_a_name_that_changes_between_attempts_is_refused() -> None:
    dns = Dns(shop_example=["127.0.0.1"])
    guard = AddressGuard(allowed_networks=(ipaddress.ip_network("127.0.0.1/32"),))
    with Receiver() as receiver, sender(guard, dns) as one:
        outgoing = post(f"http://shop.example:{receiver.port}/")
        assert one.send(outgoing).outcome == "ok"
        dns.names["shop.example"] = ["127.0.0.2"]
        assert one.send(outgoing).outcome == "blocked_target"
        assert receiver.count == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed_and_location_is_shown(status: int) -> None:
    with Receiver() as second, Receiver(lambda _: Reply(status, headers=(("Location", second.url),))) as first:
        answer = send(first.url)
        assert (answer.outcome, answer.status_code) == ("http_3xx", status)
        assert f"Location: {second.url}" in answer.message
        assert second.connections == 0


def test_the_one_followed_redirect_carries_nothing_of_the_request() -> None:
    with (
        Receiver() as second,
        Receiver(lambda _: Reply(302, headers=(("Location", f"{second.url}/result?x=1"),))) as first,
    ):
        secret = (("Authorization", "Bearer hush"), ("Cookie", "a=b"), ("webhook-signature", "v1,x"))
        answer = send(first.url, body=b"hush", headers=secret, follow_to_get=True)
        assert answer.outcome == "ok"
        (arrived,) = second.requests
        assert (arrived.method, arrived.path, arrived.body) == ("GET", "/result?x=1", b"")
        assert {name.lower() for name, _ in arrived.headers} == {"accept-encoding", "host", "user-agent"}


def test_the_followed_redirect_passes_the_guard_and_is_followed_once() -> None:
    def to(location: str) -> Reply:
        return Reply(302, headers=(("Location", location),))

    guard = AddressGuard(allowed_networks=(ipaddress.ip_network("127.0.0.1/32"),))
    with Receiver() as inner, Receiver(lambda _: to(inner.url.replace("127.0.0.1", "127.0.0.2"))) as outer:
        assert send(outer.url, guard, follow_to_get=True).outcome == "blocked_target"
        assert inner.connections == 0
    with Receiver(lambda _: to("/again")) as loop:
        assert send(loop.url, follow_to_get=True).outcome == "http_3xx"
        assert loop.count == 2
    for location in ("file:///etc/passwd", "gopher://127.0.0.1/", "http://u:p@127.0.0.1/"):
        with Receiver(lambda _, location=location: to(location)) as outer:  # type: ignore[misc]
            assert send(outer.url, follow_to_get=True).outcome == "blocked_target"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com:80@127.0.0.1/",
        "http://a#@b/",
        "http://user@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com/\\..",
        "http://127.0.0.1:80:80/",
        "http://exa mple.com/",
        "http://example.com/a b",
        "http://[::1/",
        "http://::1/",
        "http:///x",
        "http://example.com:/",
        "http://example.com:99999/",
        "http://example.com:0/",
        "http://example.com\t/",
        "http://%31%32%37.0.0.1/",
        "http://a..b/",
    ],
)
def test_urls_that_parsers_disagree_about_are_refused(url: str) -> None:
    refused(url)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://example.com/",
        "ftp://example.com/",
        "dict://example.com:2628/",
        "example.com/hook",
        "//example.com/",
        "javascript:alert(1)",
        "",
        "ws://example.com/",
        "httpx://a.example/",
    ],
)
def test_other_schemes_are_refused(url: str) -> None:
    refused(url)


@pytest.mark.parametrize("port", [22, 25, 5038, 6379, 5432, 3306, 11211, 27017, 9200, 2375, 5060, 445, 3389])
def test_ports_of_known_services_are_refused(port: int) -> None:
    refused(f"http://example.com:{port}/")
    refused(f"http://{PUBLIC}:{port}/")
    assert LOOPBACK_TOO.check_url(f"http://127.0.0.1:{port}/") == BLOCKED


def test_usual_ports_of_web_servers_are_open() -> None:
    for port in (80, 81, 443, 3000, 5000, 8000, 8080, 8088, 8443, 49152):
        assert PUBLIC_ONLY.check_url(f"http://{PUBLIC}:{port}/") is None


def test_own_endpoints_stay_refused_in_an_allowed_network_on_every_address_of_this_machine() -> None:
    with Receiver() as ami:
        guard = replace(LOOPBACK_TOO, forbidden=endpoints("127.0.0.1", ami.port))
        for host in ("127.0.0.1", "localhost", "127.0.0.3", "[::ffff:127.0.0.1]", "[::1]"):
            assert send(f"http://{host}:{ami.port}/", guard).outcome == "blocked_target"
        assert ami.connections == 0


def test_a_forbidden_endpoint_wins_over_an_allowed_one() -> None:
    one = Endpoint(ipaddress.ip_address("127.0.0.1"), 8080)
    assert AddressGuard(allowed_endpoints=frozenset({one})).check_url("http://127.0.0.1:8080/") is None
    assert AddressGuard(allowed_endpoints=frozenset({one})).check_url("http://127.0.0.1:8081/") == BLOCKED
    both = AddressGuard(allowed_endpoints=frozenset({one}), forbidden=frozenset({one}))
    assert both.check_url("http://127.0.0.1:8080/") == BLOCKED


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as proxy, Receiver() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert send(receiver.url).outcome == "ok"
        assert (proxy.connections, receiver.count) == (0, 1)


def test_netrc_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (".netrc", "_netrc"):
        (tmp_path / name).write_text("default login eve password hush\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with Receiver() as receiver:
        send(receiver.url)
        assert receiver.requests[0].header("authorization") is None


def test_cookies_are_neither_kept_nor_shared() -> None:
    def cookie(_: Received) -> Reply:
        return Reply(headers=(("Set-Cookie", "session=of-tenant-1; Path=/"),))

    with Receiver(cookie) as receiver, sender() as one:
        for pool in ("webhook:1", "webhook:1", "webhook:2"):
            one.send(post(receiver.url, pool=pool))
        assert [received.header("cookie") for received in receiver.requests] == [None] * 3


@pytest.mark.parametrize(
    "url",
    ["http://<<caller>>.example.com/", "http://<<caller>>/", "http://example.com:<<port>>/", "<<scheme>>://a.example/"],
)
def test_a_placeholder_in_the_host_never_gets_through(url: str) -> None:
    refused(url)


def test_blocked_answers_look_alike() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        ports = (server.getsockname()[1], unused.getsockname()[1], 22, 5432, 80)
        hosts = ("127.0.0.1", "10.1.2.3", "[::1]", "169.254.169.254", "localhost")
        answers = {send(f"http://{host}:{port}/", PUBLIC_ONLY) for host in hosts for port in ports}
        answers.add(send("http://inside.example/", PUBLIC_ONLY, Dns(inside_example=["10.0.0.1"])))
    assert len(answers) == 1


URL_PIECES = st.sampled_from(
    ["http://", "https://", "@", ":", "/", "\\", "#", "?", "[", "]", "::1", "127.0.0.1", "localhost", "%", "%00", ".",
     "0x7f", "example.com", "80", "99999", "\u3002", "①", "\ud800", "\n", "\x00", " ", "é", "xn--", "‮", "-", "ß", ""]
)  # fmt: skip


@pytest.mark.slow
@given(st.one_of(st.text(), st.lists(URL_PIECES, max_size=8).map("".join)))
@settings(max_examples=500, deadline=None)
def test_any_text_as_a_url_is_read_or_refused_and_never_leads_inside(text: str) -> None:
    if PUBLIC_ONLY.check_url(text) is None:
        target = read_target(text)
        assert not isinstance(target, UnusableTarget)
        host = urlsplit(text).hostname or ""
        assert target.host.isascii()
        assert target.host == host.removesuffix(".") or not host.isascii()
        assert target.address is None or PUBLIC_ONLY.check_address(target.address, target.port) is None


def test_texts_that_no_encoding_takes_do_not_stop_the_sender() -> None:
    with Receiver() as receiver, sender(dns=Dns()) as one:
        bad = (f"{receiver.url}/\ud800", f"{receiver.url}/\x00", "http://\ud800/", "http://xn--/", "http://xn--a.b/")
        for url in bad:
            assert one.send(post(url)).outcome in ("blocked_target", "dns_not_found")
        assert one.send(post(receiver.url, headers=(("X-A", "\ud800"),))).outcome == "render_error"
        assert one.send(post(receiver.url)).outcome == "ok"


@pytest.mark.parametrize("host", ["\x9e", "a" * 300, "a..b", "\x00", "x.invalid", "xn--\u0660"])
def test_a_pbx_whose_host_cannot_be_looked_up_forbids_nothing_and_breaks_nothing(host: str) -> None:
    """The guard is everybody's, and one project may have typed that."""
    assert endpoints(host, 5038) == frozenset()
