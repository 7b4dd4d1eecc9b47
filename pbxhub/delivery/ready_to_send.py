"""What a worker sends for a claimed delivery: the complete request, or the answer that says why there is none."""

from datetime import datetime

import structlog

from pbxhub.delivery.open_recordings import OpenRecording
from pbxhub.delivery.outbox import Claimed
from pbxhub.delivery.prepare import NoTokenError, Prepared, UnsendableError, prepare
from pbxhub.sending.exchange import Answer
from pbxhub.sending.outcomes import FILE_UNREADABLE, TOKEN_REFUSED, UNREADABLE, describe
from pbxhub.vault import Vault, VaultError

log = structlog.get_logger(__name__)

Ready = Prepared | Answer


def ready_to_send(vault: Vault, claimed: Claimed, now: datetime, recording: OpenRecording | None = None) -> Ready:
    """Never raises: damaged keys of one webhook must not stop the requests of others. Without a request, closes the
    recording."""
    ready = _try(vault, claimed, now, recording)
    if isinstance(ready, Answer) and recording:
        recording.file.close()
    return ready


def _try(vault: Vault, claimed: Claimed, now: datetime, recording: OpenRecording | None) -> Ready:
    try:
        return prepare(vault, claimed, now, recording)
    except UnsendableError as error:
        return Answer("render_error", f"Not sent: {error}.")
    except NoTokenError as error:
        return Answer(TOKEN_REFUSED, str(error))
    except VaultError:  # the key was checked at the start, so only this webhook's secret is sealed with another one
        return Answer(UNREADABLE, describe(UNREADABLE).sentence)
    except OSError as error:  # the recording became shorter, or its disk failed
        return Answer(FILE_UNREADABLE, f"{describe(FILE_UNREADABLE).sentence} ({error.strerror or error})")
    except Exception:
        log.exception(
            "request could not be prepared: unexpected error", delivery=str(claimed.id), webhook=claimed.webhook.id
        )
        return Answer("render_error", f"{describe('render_error').sentence} The hub's log has the details.")
