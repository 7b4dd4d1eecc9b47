"""XML written by the user, with placeholders. Checked when it is saved; each value is escaped for its place."""

import re
from collections.abc import Callable
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from pbxhub.translatable import say
from pbxhub.webhooks.encoders import xml_escape_cdata, xml_escape_everywhere
from pbxhub.webhooks.rendering import Context, to_bytes
from pbxhub.webhooks.template import Slot, Template

_MARK = "\ue000"  # replaces a placeholder while the XML is checked; from the private use area
_DECLARATION = re.compile(r"\ufeff?<\?xml\s[^>]*?encoding\s*=\s*[\"']([^\"']*)[\"']")
_SECTION = re.compile(r"<!--.*?-->|<\?.*?\?>|<!\[CDATA\[(?P<text>.*?)\]\]>", re.DOTALL)


def free_xml_problem(template: Template) -> str:
    """Why a text cannot be sent as XML; "" when it can."""
    marked = _marked(template)
    if _MARK in template.literal:
        return say("has the character U+E000, which is reserved")
    declared = _DECLARATION.match(marked)
    if declared and declared.group(1).lower() != "utf-8":
        return say(
            'declares the encoding %(value)s, but requests are sent as UTF-8; write encoding="UTF-8" or omit it',
            value=declared.group(1),
        )
    try:
        root = defusedxml.ElementTree.fromstring(to_bytes(marked), forbid_dtd=True)
    except DefusedXmlException:
        return say("has a DOCTYPE or an entity, which is not allowed")
    except (ParseError, LookupError, ValueError) as error:
        return say(
            "is not well-formed XML: %(error)s; parameters are allowed only in texts and attributes", error=error
        )
    if _places(root) != len(template.slots):
        return say(
            "has a parameter in a name, comment or instruction; parameters are allowed only in texts and attributes"
        )
    return ""


def free_xml(template: Template) -> Callable[[Context], str]:
    """A function that renders the text. Values can neither end the place they are in nor change meaning there. Only for
    texts without a problem: in others, each <!-- without an end would be searched to the end of the text."""
    encoders = _encoders(template)

    def write(context: Context) -> str:
        left = iter(encoders)
        return "".join(
            next(left)(context.text(piece.value(context))) if isinstance(piece, Slot) else piece
            for piece in template.pieces
        )

    return write


def _encoders(template: Template) -> tuple[Callable[[str], str], ...]:
    """The escape function of each placeholder: entities, except in a CDATA section, where they do not exist."""
    marked = _marked(template)
    within = {
        match.start("text") + place.start()
        for match in _SECTION.finditer(marked)
        if match["text"] is not None
        for place in re.finditer(_MARK, match["text"])
    }
    marks = [match.start() for match in re.finditer(_MARK, marked)]
    return tuple(xml_escape_cdata if mark in within else xml_escape_everywhere for mark in marks)


def _marked(template: Template) -> str:
    return "".join(_MARK if isinstance(piece, Slot) else piece for piece in template.pieces)


def _places(root: Element) -> int:
    """How many marks are in texts and attribute values."""
    texts = [text for element in root.iter() for text in (element.text, element.tail, *element.attrib.values())]
    return sum((text or "").count(_MARK) for text in texts)
