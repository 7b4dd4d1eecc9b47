"""Reads phone numbers with the library phonenumbers, for the parameters and for the filter e164."""

import re
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers

from pbxhub.calls.phone_numbers import is_hidden

LONGEST = 50  # characters; anything longer is not a number and would be slow to parse
_POSSIBLE = phonenumbers.ValidationResult.IS_POSSIBLE  # a number that wants its area code is only possible locally


@dataclass(frozen=True, slots=True)
class Spelled:
    """A phone number as phonenumbers reads it; every field is None when it is not a phone number."""

    number: phonenumbers.PhoneNumber | None = None
    e164: str | None = None
    country: str | None = None

    @property
    def region(self) -> str | None:
        # the tables of places and operators are 70 MB once loaded: only for a hub whose webhooks ask for them
        from phonenumbers import geocoder

        return (geocoder.description_for_number(self.number, "en") or None) if self.number else None

    @property
    def operator(self) -> str | None:
        from phonenumbers import carrier

        return (carrier.name_for_number(self.number, "en") or None) if self.number else None


def spell(text: str, country: str) -> Spelled:
    """Reads a number. country: the project's (ISO 3166), for numbers without a country code."""
    return _spell(text[:LONGEST], country)


@lru_cache(maxsize=10_000)
def _spell(text: str, country: str) -> Spelled:
    number = _read(text, country or None)
    if number is None or not phonenumbers.is_valid_number(number):
        whole = _read(f"+{text}", None) if text.isascii() and text.isdigit() else None  # some trunks omit the +
        if whole and phonenumbers.is_valid_number(whole):
            number = whole
    if number is None or phonenumbers.is_possible_number_with_reason(number) != _POSSIBLE:
        return Spelled()
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return Spelled(number, e164, phonenumbers.region_code_for_number(number))


def person_of(text: str, country: str) -> str:
    """One caller, however written: the E.164 form, else the number as it came; empty when it is hidden."""
    return "" if is_hidden(text) else spell(text, country).e164 or text.strip()


def national_digits(text: str, country: str) -> str:
    """How the number is dialled within the country, in digits: 0441234567; "" for a number of another country."""
    spelled = spell(text, country)
    if spelled.number is None or spelled.country != country:
        return ""
    return re.sub(r"\D", "", phonenumbers.format_number(spelled.number, phonenumbers.PhoneNumberFormat.NATIONAL))


def _read(text: str, country: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
