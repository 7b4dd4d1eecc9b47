"""XML written by hand with placeholders in it: checked when it is saved, every value escaped as its place wants it."""

import re
from collections.abc import Callable
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from pbxhub.translatable import say
from pbxhub.webhooks.encoders import xml_escape_cdata, xml_escape_everywhere
from pbxhub.webhooks.rendering import Context, to_bytes
from pbxhub.webhooks.template import Slot, Template

_MARK = "\ue000"  # stands for a placeholder while the text around it is checked; of the private use area
_DECLARATION = re.compile(r"\ufeff?<\?xml\s[^>]*?encoding\s*=\s*[\"']([^\"']*)[\"']")
_SECTION = re.compile(r"<!--.*?-->|<\?.*?\?>|<!\[CDATA\[(?P<text>.*?)\]\]>", re.DOTALL)


def free_xml_problem(template: Template) -> str:
    """Why that text cannot be sent as XML; "" when it can."""
    marked = _marked(template)
    if _MARK in template.literal:
        return say("has the character U+E000, which is reserved")
    declared = _DECLARATION.match(marked)
    if declared and declared.group(1).lower() != "utf-8":
        return say(
            'declares the encoding %(value)s, but requests are sent as UTF-8; write encoding="UTF-8" or leave it out',
            value=declared.group(1),
        )
    try:
        root = defusedxml.ElementTree.fromstring(to_bytes(marked), forbid_dtd=True)
    except DefusedXmlException:
        return say("has a DOCTYPE or an entity, which is never sent")
    except (ParseError, LookupError, ValueError) as error:
        return say(
            "is not well-formed XML: %(error)s; a parameter may stand in a text or in an attribute only", error=error
        )
    if _places(root) != len(template.slots):
        return say(
            "has a parameter in a name, a comment or an instruction; it may stand in a text or in an attribute only"
        )
    return ""


def free_xml(template: Template) -> Callable[[Context], str]:
    """The function to the text with its values, which can neither end their place nor change in it. Only for a text
    without a problem: in another one, each <!-- without an end would be followed to the end."""
    encoders = _encoders(template)

    def write(context: Context) -> str:
        left = iter(encoders)
        return "".join(
            next(left)(context.text(piece.value(context))) if isinstance(piece, Slot) else piece
            for piece in template.pieces
        )

    return write


def _encoders(template: Template) -> tuple[Callable[[str], str], ...]:
    """How the value of each placeholder is escaped: by entities, but in a CDATA section, where there are none."""
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
    """How many marks stand in texts and attribute values."""
    texts = [text for element in root.iter() for text in (element.text, element.tail, *element.attrib.values())]
    return sum((text or "").count(_MARK) for text in texts)
