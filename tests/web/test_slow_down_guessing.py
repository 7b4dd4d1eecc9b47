"""Somebody guesses passwords and codes: from many addresses, in many processes, in many spellings."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import update

from pbxhub.account.guess_delays import CODE, NETWORK, PASSWORD, Bucket, begin, network_of, succeeded
from pbxhub.delivery.context import open_context
from pbxhub.settings import Settings, read_settings, with_key
from pbxhub.store.session import Database
from pbxhub.store.sign_in_rows import Tries
from pbxhub.vault import Vault
from pbxhub.web import create_app
from pbxhub.wsgi.current import now
from tests.support.authenticator import code_of, switch_on
from tests.support.people import PASSWORD as RIGHT
from tests.support.people import Browser, People

SignedIn = Callable[[str], Browser]


@pytest.fixture
def settings(tmp_path) -> Settings:
    environ = {"PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_PUBLIC_URL": "http://localhost",
               "PBXHUB_TRUSTED_PROXIES": "127.0.0.1/32"}  # fmt: skip
    return with_key(read_settings(environ))


def _from(app: Flask, address: str) -> Browser:
    client = app.test_client()
    client.environ_base["HTTP_X_FORWARDED_FOR"] = address
    return Browser(client)


def test_wrong_codes_count_by_user_from_whatever_address_and_process(
    app: Flask, settings: Settings, database: Database, people: People, signed_in: SignedIn
) -> None:
    key, _used = switch_on(signed_in("owner"))
    processes = [app, create_app(settings, open_context(settings, database, Vault(settings.secret_key)))]
    answers = []
    for number in range(7):
        browser = _from(processes[number % 2], f"198.51.100.{number}")
        browser.get(browser.sign_in("owner@example.com").location)
        answers.append(browser.post("/tf-validate", {"code": f"00000{number}", "submit": "1"}))
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert 0 < int(answers[5].headers["Retry-After"]) <= 30
    assert "Too many attempts" in answers[5].text
    _time_goes_by(database)
    assert browser.post("/tf-validate", {"code": code_of(key, 1), "submit": "1"}).status_code == 302


def test_one_machine_has_a_whole_network_of_ipv6(app: Flask, people: People) -> None:
    tries = [_from(app, f"2001:db8:1:2::{number}").sign_in("viewer@example.com", "wrong") for number in range(6)]
    assert [answer.status_code for answer in tries] == [200] * 5 + [429]
    assert _from(app, "2001:db8:1:3::1").sign_in("viewer@example.com", "wrong").status_code == 200
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"


def test_every_spelling_of_an_address_is_one_account(app: Flask, people: People) -> None:
    spellings = ["viewer@example.com", "VIEWER@Example.com", "\uff56iewer@example.com", " viewer@example.com ",
                 "viewer@\uff45xample.com", "viewer@EXAMPLE.COM"]  # fmt: skip
    browser = _from(app, "192.0.2.7")
    assert [browser.sign_in(text, "wrong").status_code for text in spellings] == [200] * 5 + [429]


def test_somebody_signed_in_takes_no_try_back(app: Flask, people: People) -> None:
    """The sign-in page leads them on whatever they type there: no password was right."""
    accomplice = _from(app, "192.0.2.7")
    accomplice.sign_in("stranger@example.com")
    accomplice.get("/projects")
    answers = []
    for number in range(6):
        answers.append(_from(app, "192.0.2.7").sign_in("owner@example.com", f"wrong {number}").status_code)
        answer = accomplice.post("/sign-in", {"email": "owner@example.com", "password": "wrong", "submit": "1"})
        assert answer.status_code == 302
    assert answers == [200] * 5 + [429]


def test_strangers_cannot_keep_an_owner_out(app: Flask, database: Database, people: People) -> None:
    """Neither with his own browser, whatever they do at the same time, nor with a new one for long."""
    anna = _from(app, "203.0.113.5")
    anna.sign_in("owner@example.com")
    anna.get("/projects")
    anna.post("/sign-out")
    codes = [_from(app, f"198.51.100.{number}").sign_in("owner@example.com", "wrong").status_code
             for number in range(25)]  # fmt: skip
    assert codes[0] == 200
    assert codes[-1] == 429
    assert anna.sign_in("owner@example.com").status_code == 302
    elsewhere = _from(app, "203.0.113.6")
    refused = elsewhere.sign_in("owner@example.com")
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) <= PASSWORD.longest.total_seconds()
    _time_goes_by(database)
    assert elsewhere.sign_in("owner@example.com", RIGHT).status_code == 302


def test_a_browser_that_is_known_to_one_account_is_not_to_another(app: Flask, people: People) -> None:
    thief = _from(app, "203.0.113.5")
    thief.sign_in("viewer@example.com")
    thief.get("/projects")
    thief.post("/sign-out")
    thief.client.environ_base["HTTP_X_FORWARDED_FOR"] = "203.0.113.6"
    codes = [thief.sign_in("owner@example.com", "wrong").status_code for _ in range(6)]
    assert codes == [200] * 5 + [429]


def test_guessing_the_password_in_an_open_browser_is_slowed(people: People, signed_in: SignedIn) -> None:
    thief = signed_in("owner")
    thief.get("/change-password")
    form = {"password": "wrong", "new_password": "a new long one 5", "new_password_confirm": "a new long one 5"}
    assert [thief.post("/change-password", form).status_code for _ in range(6)] == [200] * 5 + [429]


def test_an_office_that_signs_in_is_not_an_attack(database: Database) -> None:
    office = [Bucket(NETWORK, "192.0.2.1")]
    with database.write() as session:
        for _ in range(100):
            assert begin(session, office, now()) is None
            succeeded(session, office, now())


def test_the_delay_doubles_up_to_its_longest_and_is_forgotten(database: Database) -> None:
    bucket, moment = [Bucket(CODE, "anna")], now()
    waits = []
    with database.write() as session:
        for _ in range(16):
            wait = begin(session, bucket, moment)
            waits.append(wait)
            moment += wait or timedelta(0)
        assert begin(session, bucket, moment + timedelta(days=2)) is None
        assert begin(session, bucket, moment + timedelta(days=2)) is None
    seconds = [wait.total_seconds() for wait in waits if wait]
    assert waits[:5] == [None] * 5
    assert seconds[:4] == [30, 60, 120, 240]
    assert max(seconds) <= 3600


def test_what_comes_too_early_makes_nobody_wait_longer(database: Database) -> None:
    bucket, moment = [Bucket(CODE, "anna")], now()
    with database.write() as session:
        waits = [begin(session, bucket, moment) for _ in range(50)]
    assert waits[-1] == timedelta(seconds=30)


def _time_goes_by(database: Database) -> None:
    """The delays are over."""
    with database.write() as session:
        session.execute(update(Tries).values(free_on=now()))
