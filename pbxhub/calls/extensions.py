"""Which extension a phone's channel belongs to: told by the channel, never by stray digits of its name."""

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
    A number that several endpoints show (the company's, a group's) tells nothing of any of them.
    """

    def __init__(self, endpoints: Mapping[str, str], own_numbers: Collection[str]) -> None:
        self.endpoints = endpoints
        self.own_numbers = frozenset(own_numbers)
        self._number_of: dict[str, str] = {}
        self._shown_by: dict[str, set[str]] = {}

    def _learn(self, endpoint: str, number: str) -> None:
        before = self._number_of.get(endpoint)
        if number == before or not _EXTENSION.fullmatch(number) or len(self._number_of) >= _MOST:
            return
        if before is not None:
            self._shown_by[before].discard(endpoint)
        self._number_of[endpoint] = number
        self._shown_by.setdefault(number, set()).add(endpoint)

    def of(self, endpoint: str, number: str, learn: bool = False) -> str:
        """The extension of an endpoint that shows this number: what the first of these can tell.

        learn: it is the number with which its channel began, which is the endpoint's own.

        The employee's card; the endpoint's own caller id; the endpoint's name, when it is a number or has one between
        separators (desk-101); the endpoint's name as it is.
        """
        if learn:
            self._learn(endpoint, number)
        on_card = self.endpoints.get(endpoint)
        if on_card:
            return on_card
        shown = self._number_of.get(endpoint, number)
        if _EXTENSION.fullmatch(shown) and shown not in self.own_numbers and not self._is_shared(shown, endpoint):
            return shown
        plain = [part for part in _SEPARATORS.split(endpoint) if part.isascii() and part.isdigit()]
        return plain[0] if len(plain) == 1 else endpoint or number

    def _is_shared(self, number: str, endpoint: str) -> bool:
        return bool(self._shown_by.get(number, set()) - {endpoint})
