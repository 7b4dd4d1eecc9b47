"""E-mail addresses of accounts: one normalized spelling for each.

Sign-in, invitation, reset, setup, command line and the limits of attempts all use this module, so that
ANNA@example.com, the same in full-width letters, and a domain in its own script or in punycode (xn--…) are one account.
"""

import unicodedata

from email_validator import EmailNotValidError, validate_email

from pbxhub.translatable import Sentence, say

LONGEST = 254  # characters, RFC 5321 4.5.3.1.3


def normalised(text: str) -> str:
    """The normalized address: NFKC, lower case, the domain in IDNA form. "" when it is not an address."""
    folded = unicodedata.normalize("NFKC", text).strip().lower()
    if len(folded) > LONGEST:
        return ""
    try:
        found = validate_email(folded, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return ""
    local = unicodedata.normalize("NFKC", found.local_part.lower())
    return f"{local}@{found.ascii_domain.lower()}"


def refusal_of(text: str) -> Sentence | None:
    """Why no account is created for this address. A name with letters of two alphabets looks like another one: "аnna"
    with a Cyrillic first letter. Existing accounts with such an address can still sign in."""
    if not normalised(text):
        return say("Give an e-mail address, anna@example.com for example.")
    local, _, domain = unicodedata.normalize("NFKC", text).strip().lower().partition("@")
    if any(len(_alphabets(part)) > 1 for part in (local, *_labels(domain))):
        return say("This address mixes similar letters of several alphabets; type it as it is written.")
    return None


def _alphabets(text: str) -> set[str]:
    """Of those with letters that look alike."""
    scripts = {unicodedata.name(letter, "").partition(" ")[0] for letter in text if letter.isalpha()}
    return scripts & {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN"}


def _labels(domain: str) -> list[str]:
    try:
        readable = validate_email(f"a@{domain}", check_deliverability=False, test_environment=True).domain
    except EmailNotValidError:
        readable = domain
    return readable.split(".")
