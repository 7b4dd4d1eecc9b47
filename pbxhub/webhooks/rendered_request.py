"""A rendered request, or the reason why there is none."""

from dataclasses import dataclass

from pbxhub.webhooks.attached import Attached, recording_in, with_notes

SKIPPED = "skipped"
"""The outcome of a delivery whose webhook skips calls without a mandatory value (WebhookSpec.incomplete)."""


@dataclass(frozen=True, slots=True)
class Request:
    """Exactly what will be sent, before credentials and signature are added.

    url: ASCII, percent-encoded, host in its IDN form. headers: names and values that fit latin-1, in order.
    files: what is inserted into the body when it is sent.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    files: tuple[Attached, ...] = ()

    @property
    def recording(self) -> str:
        """The recording that it sends, by the name that the PBX reported; "" when it sends none."""
        return recording_in(self.files)

    def body_with_notes(self, size: int | None = None) -> bytes:
        """The body to read, without the bytes of files. size: of the recording, if it is known."""
        return with_notes(self.body, self.files, size) if self.files else self.body


@dataclass(frozen=True, slots=True)
class NotSent:
    """Why no request was created for a call.

    code: not_sent_mandatory or SKIPPED (a mandatory field is empty), or render_error (a value is not valid in its
    place).
    sentence: names the field by its path and says what to change.
    """

    code: str
    sentence: str
