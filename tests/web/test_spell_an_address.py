"""People type e-mail addresses in every way there is."""

from collections.abc import Callable

import pytest

from pbxhub.account.email_addresses import normalised, refusal_of
from tests.support.people import Browser, People

SPELLINGS = {
    "anna@example.com": ["ANNA@example.com", "anna@EXAMPLE.com", " anna@example.com\n", "\uff41nna@example.com",
                         "anna\uff20example.com", "anna@\uff45\uff58ample.com", "anna@example\u3002com"],
    "anna@xn--bcher-kva.de": ["anna@b\u00fccher.de", "anna@bu\u0308cher.de", "ANNA@XN--BCHER-KVA.de",
                              "anna@B\u00dcCHER.de"],
    "andr\u00e9@example.com": ["andre\u0301@example.com", "ANDR\u00c9@example.com"],
    "kim@example.com": ["\u212aim@example.com"],
}  # fmt: skip


@pytest.mark.parametrize("address", SPELLINGS)
def test_an_address_has_one_spelling(address: str) -> None:
    assert {normalised(text) for text in (address, *SPELLINGS[address])} == {address}
    assert refusal_of(address) is None


@pytest.mark.parametrize(
    "text", ["", "anna", "@", "a@b", "a@b@example.com", "a b@example.com", "a@exa mple.com", "a@b.com,b@example.com",
             "a\u200b@example.com", "a\x00@example.com", "a@example.com\nBcc: b@example.com", "a@-.com",
             f"a@{'b' * 250}.com", "\ud800@example.com", '"a b"@example.com']
)  # fmt: skip
def test_what_is_no_address_is_none(text: str) -> None:
    assert normalised(text) == ""
    assert refusal_of(text)


@pytest.mark.parametrize("text", ["\u0430nna@example.com", "anna@ex\u0430mple.com", "\u03bfwner@example.com"])
def test_no_account_is_made_for_a_look_alike_of_two_alphabets(text: str) -> None:
    assert "alphabets" in (refusal_of(text) or "")


@pytest.mark.parametrize(
    "text", ["\u0430\u043d\u043d\u0430@example.com", "anna.\u3042@example.com", "a1_b-c@example.com"]
)
def test_a_name_in_one_alphabet_of_any_kind_is_well(text: str) -> None:
    assert refusal_of(text) is None


def test_every_spelling_signs_in(people: People, browser: Callable[[], Browser]) -> None:
    for text in ("Owner@Example.com", "\uff4fwner@example.com", "owner@example\u3002com"):
        assert browser().sign_in(text).status_code == 302, text
