"""Which extension a phone's channel belongs to. Digits in its name count only where they form the extension."""

import re
from collections.abc import Collection, Mapping

_EXTENSION = re.compile(r"[0-9]{2,6}")
_SEPARATORS = re.compile(r"[-_. ]")
_MOST = 20_000  # endpoints whose caller id is remembered


def endpoint_of(channel_name: str) -> str:
    """PJSIP/101-0000002a -> 101. An ISDN trunk is its group: DAHDI/i1/15551234-2 -> i1."""
    return channel_name.partition("/")[2].rpartition("-")[0].partition("/")[0]


class Extensions:
    """The extensions of one PBX.

    endpoints: from the employees' cards, name of an endpoint -> extension. own_numbers: DIDs, which phones may show.
    A number that several endpoints show (the company's, a group's) identifies none of them.
    """

    def __init__(self, endpoints: Mapping[str, str], own_numbers: Collection[str]) -> None:
        self._number_of: dict[str, str] = {}
        self._shown_by: dict[str, set[str]] = {}
        self.set_cards(endpoints, own_numbers)

    def set_cards(self, endpoints: Mapping[str, str], own_numbers: Collection[str]) -> None:
        """Takes over changed employees' cards and company numbers."""
        self._endpoints = endpoints
        self._own_numbers = frozenset(own_numbers)
        self._found: dict[tuple[str, str], str] = {}  # what of() has found, until anything changes

    def of(self, endpoint: str, number: str, learn: bool = False) -> str:
        """The extension of an endpoint that shows this number. The first of these that is known decides:

        the employee's card; the endpoint's own caller id; the endpoint's name, when it is a number or has one between
        separators (desk-101); the endpoint's whole name.
        learn: the number is the one with which the channel began, so it is the endpoint's own.
        """
        if learn and self._number_of.get(endpoint) != number:
            self._learn(endpoint, number)
        found = self._found.get((endpoint, number))
        if found is None:
            found = self._find(endpoint, number)
            if len(self._found) < _MOST:
                self._found[endpoint, number] = found
        return found

    def _learn(self, endpoint: str, number: str) -> None:
        if not _EXTENSION.fullmatch(number) or len(self._number_of) >= _MOST:
            return
        if endpoint in self._number_of:
            self._shown_by[self._number_of[endpoint]].discard(endpoint)
        self._number_of[endpoint] = number
        self._shown_by.setdefault(number, set()).add(endpoint)
        self._found.clear()

    def _find(self, endpoint: str, number: str) -> str:
        on_card = self._endpoints.get(endpoint)
        if on_card:
            return on_card
        shown = self._number_of.get(endpoint, number)
        if _EXTENSION.fullmatch(shown) and shown not in self._own_numbers and not self._is_shared(shown, endpoint):
            return shown
        plain = [part for part in _SEPARATORS.split(endpoint) if part.isascii() and part.isdigit()]
        return plain[0] if len(plain) == 1 else endpoint or number

    def _is_shared(self, number: str, endpoint: str) -> bool:
        return bool(self._shown_by.get(number, set()) - {endpoint})
