"""Sentences for people that remember how they were made.

The floors that find out what is wrong know no languages: they make an English sentence, which programs and logs get
as it is. A page makes the same sentence again in the language of its reader (web/language.py: said).
"""

from collections.abc import Mapping


class Sentence(str):
    """The filled in English text. text: before that, as the catalogues have it; values: what was filled in."""

    text: str
    values: Mapping[str, object]


def say(text: str, /, **values: object) -> Sentence:
    """A sentence with its %(name)s filled in. A value may be a Sentence too, and is translated with it.

    The texts given here are found by tests.support.catalogue: write them in the call, in one piece.
    """
    sentence = Sentence(text % values if values else text)
    sentence.text, sentence.values = text, values
    return sentence
