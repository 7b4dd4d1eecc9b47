"""An operator installs the wheel on a server, as docs/operations/install.md says: a service, nginx in front."""

import configparser
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import requests
import trustme
from sqlalchemy import func, select

from pbxhub.store.delivery_rows import DELIVERED, Delivery
from pbxhub.store.session import open_database
from pbxhub.testing import await_until
from pbxhub.testing.processes import Program, free_port, program
from tests.support.wheel import build_wheel

ROOT = Path(__file__).parent.parent
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
NOBODY = 64321  # a user of no other process
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_is_shut_in(unit: Path) -> None:
    """systemd's own measure: 0 is perfect, below 3 was asked for."""
    done = subprocess.run(
        [program("systemd-analyze", "systemd"), "security", "--offline=true", "--threshold=20", "--no-pager", unit],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-500:] + done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_is_one_that_systemd_understands(unit: Path, tmp_path: Path) -> None:
    """Of an unknown key or value systemd only warns, and the sandbox would be open there."""
    here = tmp_path / unit.name.replace("@", "@1")
    here.write_text(unit.read_text().replace("/opt/pbxhub/bin/pbxhub", sys.executable))
    done = subprocess.run(
        [program("systemd-analyze", "systemd"), "verify", "--man=no", here], capture_output=True, text=True
    )
    assert [line for line in done.stderr.splitlines() if here.name in line] == []


def test_the_units_start_commands_that_exist() -> None:
    said = subprocess.run([sys.executable, "-m", "pbxhub", "--help"], capture_output=True, text=True).stdout
    for unit in UNITS:
        assert re.search(rf"^  {_service(unit)['ExecStart'].split()[1]} ", said, re.MULTILINE), unit.name


def _service(unit: Path) -> configparser.SectionProxy:
    parsed = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(unit.read_text())
    return parsed["Service"]


def allowed_calls(unit: Path) -> list[str]:
    """The names of the system calls that the lines SystemCallFilter= leave."""
    allowed: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit.read_text(), re.MULTILINE):
        named = {call for group in line.lstrip("~").split() for call in calls_of(group)}
        allowed = allowed - named if line.startswith("~") else allowed | named
    return sorted(allowed)


@cache
def calls_of(group: str) -> frozenset[str]:
    """Of a group such as @system-service, as systemd here knows it."""
    ask = [program("systemd-analyze", "systemd"), "syscall-filter", group]
    listed = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    names = re.findall(r"^    ([@\w]\S*)$", listed, re.MULTILINE)
    return frozenset(call for name in names for call in (calls_of(name) if name.startswith("@") else {name}))


# what systemd does for SystemCallFilter= with SystemCallErrorNumber=EPERM, and for RestrictAddressFamilies=. Its own
# libseccomp is on every Debian. The command runs in the same process: Python may be in a folder from which only root
# can start programs
FILTER = """
import ctypes, errno, runpy, socket, sys
names, families = sys.argv[1].split(), [getattr(socket, name) for name in sys.argv[2].split()]
del sys.argv[:3]
ALLOWED, EQUAL = 0x7FFF0000, 4

class Argument(ctypes.Structure):
    _fields_ = [("place", ctypes.c_uint), ("compared", ctypes.c_int), ("first", ctypes.c_uint64),
                ("second", ctypes.c_uint64)]

lib = ctypes.CDLL("libseccomp.so.2")
lib.seccomp_init.restype = ctypes.c_void_p
numbers = {name: lib.seccomp_syscall_resolve_name(name.encode()) for name in names}
opened = numbers.pop("socket")
calls = ctypes.c_void_p(lib.seccomp_init(0x00050000 | errno.EPERM))
added = [lib.seccomp_rule_add(calls, ALLOWED, number, 0) for number in numbers.values() if number >= 0]
for family in families:
    only = Argument(0, EQUAL, family, 0)
    added.append(lib.seccomp_rule_add_array(calls, ALLOWED, opened, 1, ctypes.byref(only)))
try:
    if any(added) or lib.seccomp_load(calls):
        sys.exit("the filter of system calls cannot be loaded")
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
    sys.exit("the filter of address families is open")
except PermissionError:
    pass
runpy.run_path(sys.argv[0], run_name="__main__")
"""


# what systemd does for ProcSubset=pid with ProtectProc=invisible, and for PrivateDevices=
OWN_PROC_AND_DEV = (
    "mount -t proc -o subset=pid,hidepid=invisible none /proc",
    "mount -t tmpfs -o mode=755 none /mnt",
    "for each in null zero full random urandom tty; do touch /mnt/$each; mount --bind /dev/$each /mnt/$each; done",
    "mkdir /mnt/shm",
    "mount -t tmpfs -o mode=1777 none /mnt/shm",
    "mount --rbind /mnt /dev",
)


@dataclass(frozen=True)
class Service:
    """The hub of the unit. process: its id. state: what is /var/lib/pbxhub there. log: what its journal would show."""

    process: int
    port: int
    state: Path
    log: Path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing but the wheel and what it needs, installed offline from a folder of wheels."""
    folder = tmp_path_factory.mktemp("opt")
    subprocess.run([sys.executable, "-m", "venv", folder / "pbxhub"], check=True)
    pip = [folder / "pbxhub" / "bin" / "pip", "-q", "--disable-pip-version-check"]
    wheel, wheelhouse = build_wheel(folder), folder / "wheelhouse"
    collect = [*pip, "wheel", wheel, "-c", ROOT / "constraints.txt", "-w", wheelhouse]
    subprocess.run(collect, check=True, stderr=subprocess.DEVNULL)
    without_network = ["unshare", "--net", *pip, "install", "--no-index", "--find-links", wheelhouse, "pbxhub"]
    subprocess.run(without_network, check=True)
    script = folder / "pbxhub" / "bin" / "pbxhub"
    script.write_text(script.read_text().replace(str(folder), "/opt"))  # where the service finds it
    return folder / "pbxhub"


@contextmanager
def served(installed: Path, folder: Path) -> Iterator[Service]:
    """Runs ExecStart of pbxhub.service with the settings of the example, as systemd would: another user without any
    right, everything read-only but its state, a /tmp, /proc and /dev of its own, and only the system calls and address
    families of its filter."""
    if os.geteuid() != 0:
        pytest.fail("this test changes users and mounts: run it as root, as CI does")
    unit = ROOT / "deploy/systemd/pbxhub.service"
    service, state, log = _service(unit), folder / "state", folder / "log"
    state.mkdir(mode=int(service["StateDirectoryMode"], 8))
    os.chown(state, NOBODY, NOBODY)
    port = free_port(2)  # the demo's receiver has the next one
    example = (ROOT / "deploy/pbxhub.env.example").read_text()
    settings = dict(re.findall(r"^(PBXHUB_\w+)=(.*)$", example, re.MULTILINE))
    settings |= {
        "PBXHUB_PORT": str(port), "PBXHUB_AGI": "", "PBXHUB_DATA_DIR": "/var/lib/pbxhub", "PBXHUB_LOG_FORMAT": "text",
    }  # fmt: skip
    mounts = [
        "mount --make-rprivate /",
        *(f"mount -t tmpfs none {folder}" for folder in ("/opt", "/var/lib")),
        "mkdir /opt/pbxhub /var/lib/pbxhub",
        f"mount --bind {installed} /opt/pbxhub",
        f"mount --bind {state} /var/lib/pbxhub",
        *(f"mount -o remount,bind,ro {folder}" for folder in ("/", "/opt/pbxhub")),
        "mount -t tmpfs -o mode=1777 none /tmp",
        *OWN_PROC_AND_DEV,
        "cd /",
        f"umask {service['UMask']}",
    ]
    command = service["ExecStart"].split()
    as_nobody = (
        f"exec {program('setpriv', 'util-linux')} --reuid={NOBODY} --regid={NOBODY} --clear-groups --no-new-privs"
        " --bounding-set=-all --inh-caps=-all -- /opt/pbxhub/bin/python -c "
        + shlex.join([FILTER, " ".join(allowed_calls(unit)), service["RestrictAddressFamilies"], *command, "--demo"])
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PBXHUB_", "PYTHON"))}
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", " && ".join([*mounts, as_nobody])], env={**clean, **settings},
        stdin=subprocess.DEVNULL, stdout=log.open("wb"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield Service(process.pid, port, state, log)
    finally:
        process.terminate()
        assert process.wait(15) == 0, log.read_text()[-2000:]


@dataclass(frozen=True)
class Proxy:
    """url: where it speaks TLS. authority: the PEM file of its certificate's issuer."""

    url: str
    authority: Path


@contextmanager
def proxied(server: str, hub_port: int, folder: Path) -> Iterator[Proxy]:
    """nginx or Caddy with the shipped configuration but for ports and certificate."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    secure = free_port()
    command = {"nginx": nginx, "caddy": caddy}[server](folder, secure, hub_port)
    running = Program(command, folder / f"{server}.log", environ={"HOME": str(folder)})
    try:
        yield Proxy(f"https://localhost:{secure}", folder / "ca.pem")
    finally:
        running.stop()


def nginx(folder: Path, secure: int, hub_port: int) -> list[str]:
    site = re.sub(r"listen \[::\]:.*\n", "", (ROOT / "deploy/nginx.conf").read_text())
    site = site.replace("listen 80;", f"listen 127.0.0.1:{free_port()};")
    site = site.replace("listen 443 ssl;", f"listen 127.0.0.1:{secure} ssl;")
    site = re.sub(r"/etc/letsencrypt\S+\.pem", str(folder / "server.pem"), site)
    site = site.replace("127.0.0.1:8080", f"127.0.0.1:{hub_port}")
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; user root;\n"
        f"events {{}}\nhttp {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n{site}}}\n"
    )
    return [program("nginx", "nginx-light"), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]


def caddy(folder: Path, secure: int, hub_port: int) -> list[str]:
    """With a certificate at hand it asks no authority for one."""
    site = (ROOT / "deploy/Caddyfile").read_text().replace("127.0.0.1:8080", f"127.0.0.1:{hub_port}")
    pem = folder / "server.pem"
    site = site.replace("pbx.example.com {", f"https://localhost:{secure} {{\n\tbind 127.0.0.1\n\ttls {pem} {pem}")
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{site}")
    return [program("caddy", "caddy"), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


@pytest.mark.parametrize("server", ["nginx", "caddy"])
def test_the_service_plays_a_call_behind_a_proxy_and_touches_nothing_else(
    installed: Path, tmp_path: Path, server: str
) -> None:
    with served(installed, tmp_path) as hub, proxied(server, hub.port, tmp_path) as proxy:

        def page() -> requests.Response:
            try:
                answer = requests.get(proxy.url, verify=str(proxy.authority), timeout=60)
            except requests.ConnectionError as error:
                raise AssertionError(f"{server} does not listen yet") from error
            assert answer.status_code == 200, f"{answer.status_code}\n{hub.log.read_text()[-1000:]}"
            return answer

        await_until(page, "120s")
        assert "Strict-Transport-Security" in page().headers
        assert requests.get(f"{proxy.url}/health", verify=str(proxy.authority), timeout=60).status_code == 200

        def deliveries() -> None:
            database = open_database(f"sqlite:///{hub.state}/pbxhub.sqlite3")
            with database.read() as session:
                query = select(func.count()).select_from(Delivery).where(Delivery.state == DELIVERED)
                assert session.scalar(query), hub.log.read_text()[-1000:]
            database.close()

        await_until(deliveries, "120s")
        assert "\nSeccomp:\t2\n" in Path(f"/proc/{hub.process}/status").read_text()  # a filter is in force
        assert {path.stat().st_uid for path in hub.state.rglob("*")} == {NOBODY}
        assert {path.stat().st_mode & 0o077 for path in hub.state.rglob("*")} == {0}
