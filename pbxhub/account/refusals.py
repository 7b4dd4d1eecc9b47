"""Why something is not done: a value that the page, the API and the command line each show in their own way."""

from dataclasses import dataclass

from pbxhub.translatable import Sentence, say


@dataclass(frozen=True, slots=True)
class Refusal:
    """path: the field it concerns, "" for the whole. sentence: what is wrong. remedy: what to do about it."""

    path: str
    sentence: Sentence
    remedy: Sentence

    @property
    def text(self) -> Sentence:
        """Both in one line."""
        return say("%(why)s %(advice)s", why=self.sentence, advice=self.remedy)


@dataclass(frozen=True, slots=True)
class Taken(Refusal):
    """Something else has this name or number already: right by itself, and refused as things stand."""
