"""English sentences that can be translated later.

The lower layers do not know the reader's language. They build an English sentence, which programs and logs get
unchanged; a page builds the same sentence in its reader's language (web/language.py: said).
"""

from collections.abc import Mapping


class Sentence(str):
    """The English text with its values. text: without the values, as in the message catalogue; values: the values."""

    text: str
    values: Mapping[str, object]


def with_advice(why: str, advice: str) -> Sentence:
    """What is wrong and what to do about it, in one line."""
    return say("%(why)s %(advice)s", why=why, advice=advice)


def say(text: str, /, **values: object) -> Sentence:
    """A sentence with its %(name)s filled in. A value may be a Sentence too; it is translated as well.

    tests.support.catalogue collects the texts from these calls, so write each text in the call as one literal.
    """
    sentence = Sentence(text % values if values else text)
    sentence.text, sentence.values = text, values
    return sentence
