"""Reads single fields from people and programs, by the same rules everywhere."""

from collections.abc import Mapping
from typing import Any

from pbxhub.account.access import Access
from pbxhub.account.refusals import Refusal
from pbxhub.translatable import say


def one_line(given: Mapping[str, Any], name: str, longest: int, *, needed: bool = False) -> str | Refusal:
    """A line of text: white space around it is dropped, tabs and line breaks inside it are refused."""
    text = str(given.get(name) or "").strip()
    if needed and not text:
        return Refusal(name, say("This is empty."), say("Fill it in."))
    if len(text) > longest:
        counted = say("This has %(count)s characters.", count=len(text))
        return Refusal(name, counted, say("Give up to %(most)s.", most=longest))
    if not text.isprintable():
        return Refusal(name, say("This has a line break or an invisible character."), say("Write one line."))
    return text


def read_lines(
    given: Mapping[str, Any], longest: Mapping[str, int], needed: frozenset[str]
) -> dict[str, str] | list[Refusal]:
    """Of what is given the fields that are known (name -> characters), or everything that is wrong with them."""
    found = {
        name: one_line(given, name, most, needed=name in needed) for name, most in longest.items() if name in given
    }
    refused = [each for each in found.values() if isinstance(each, Refusal)]
    return refused or {name: text for name, text in found.items() if isinstance(text, str)}


def read_whole_numbers(
    given: Mapping[str, Any], ranges: Mapping[str, tuple[int, int]]
) -> dict[str, int] | list[Refusal]:
    """Of what is given the fields that are known (name -> least and most), or everything that is wrong with them."""
    found = {name: given[name] for name in ranges if name in given}
    wrong = [name for name, value in found.items() if not _is_between(value, *ranges[name])]
    refused = [
        Refusal(name, say("This is out of range."),
                say("Give a whole number from %(least)s to %(most)s.", least=ranges[name][0], most=ranges[name][1]))
        for name in wrong
    ]  # fmt: skip
    return refused or found


def _is_between(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def refuse_address(access: Access, path: str, url: str) -> Refusal | None:
    """Why requests of this project may not go to a URL, as far as that is known without asking the DNS; None when they
    may. path: the field that has it. The very address is checked again at each connection."""
    refused = access.hub.guard_of(access.project).check_url(url)
    if refused is None:
        return None
    return Refusal(path, say("The hub may not send there: %(why)s", why=refused.sentence),
                   say("Give an address on the public internet."))  # fmt: skip
