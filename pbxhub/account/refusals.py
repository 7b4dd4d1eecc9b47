"""Refusals: values that say why something was not done; the page, the API and the command line show them."""

from dataclasses import dataclass

from pbxhub.translatable import Sentence, with_advice


@dataclass(frozen=True, slots=True)
class Refusal:
    """path: the field, "" for the whole. sentence: what is wrong. remedy: what to do about it."""

    path: str
    sentence: Sentence
    remedy: Sentence

    @property
    def text(self) -> Sentence:
        """Both in one line."""
        return with_advice(self.sentence, self.remedy)


@dataclass(frozen=True, slots=True)
class Taken(Refusal):
    """Something else has this name or number already: right by itself, and refused as things stand."""


class NotFoundError(Exception):
    """There is no such thing in this project: 404, whoever asks."""


class _RefusedError(Exception):
    """sentence: why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class NotAllowedError(_RefusedError):
    """It exists and cannot be changed: 403."""


class ConflictError(_RefusedError):
    """Right by itself, and refused as things stand: 409."""


class BusyError(_RefusedError):
    """Too much at once: 429. retry_after: seconds after which another attempt makes sense."""

    sentence: Sentence

    def __init__(self, sentence: Sentence, retry_after: int = 10) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after
