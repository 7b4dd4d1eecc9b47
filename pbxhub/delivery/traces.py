"""Traces for OpenTelemetry: how long a stage took from Asterisk's event to the database, and each attempt to send it.

Switched off unless PBXHUB_OTLP is set; then the extra `pbxhub[otel]` is needed, and imported only here. A stage is one
trace. Its ids are made of the ids of the rows, so that the listener and any worker, on any host and days later, write
into the same trace, and no column is needed for it:

trace      the id of the stage event (16 bytes); of what has no stage, the delivery's
stage      its span id: the last 8 bytes of that id, which are random (UUID version 7)
attempt    its span id: the first 8 bytes of SHA-256 of the delivery's id and the number of the attempt
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from pbxhub import __version__
from pbxhub.delivery.outbox.claimed import Claimed
from pbxhub.delivery.outbox.new_stages import NewStage
from pbxhub.sending.exchange import Answer

_TIMEOUT = 10.0  # seconds for a request to the collector
_SCOPE = InstrumentationScope("pbxhub", __version__)
_LOW = (1 << 64) - 1


class Traces:
    """Sends spans to an OTLP collector, in batches and on a thread of its own. Its answer is waited for by nobody: when
    it is away, spans are dropped, and the log says so."""

    def __init__(self, url: str) -> None:
        """url: of the collector, http://127.0.0.1:4318; spans go to /v1/traces."""
        self._resource = Resource.create({"service.name": "pbxhub", "service.version": __version__})
        self._sending = BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces", timeout=_TIMEOUT))

    def stages(self, new: Iterable[NewStage], now: datetime) -> None:
        """Call it when they are committed: from the time of Asterisk's event until now."""
        for stage in new:
            values: dict[str, str | int] = {
                "pbxhub.stage": stage.stage.name, "pbxhub.project": stage.call.project_id,
                "pbxhub.call": str(stage.call.known_id), "pbxhub.linkedid": stage.call.linkedid,
            }  # fmt: skip
            begin = stage.stage.time
            self._end(stage.stage.name, stage.id, stage.id.int & _LOW, None, SpanKind.INTERNAL, begin, now, values)

    def attempt(self, claimed: Claimed, answer: Answer, now: datetime) -> None:
        """From the claim until the answer is there. Addresses and texts may contain secrets, so they stay out."""
        values: dict[str, str | int] = {
            "pbxhub.webhook": claimed.webhook.id, "pbxhub.delivery": str(claimed.id), "pbxhub.attempt": claimed.attempt,
            "pbxhub.outcome": answer.outcome, "http.request.method": claimed.request.method,
        }  # fmt: skip
        if answer.status_code is not None:
            values["http.response.status_code"] = answer.status_code
        if answer.total_us is not None:
            values["pbxhub.request_us"] = answer.total_us
        trace = claimed.stage_event_id or claimed.id
        own = hashlib.sha256(f"{claimed.id}:{claimed.attempt}".encode()).digest()[:8]
        parent = claimed.stage_event_id.int & _LOW if claimed.stage_event_id else None
        status = Status(StatusCode.OK) if answer.outcome == "ok" else Status(StatusCode.ERROR, answer.outcome)
        self._end(
            "attempt", trace, int.from_bytes(own), parent, SpanKind.CLIENT, claimed.started_on, now, values, status
        )

    def stop(self) -> None:
        """Sends what is left."""
        self._sending.shutdown()  # type: ignore[no-untyped-call]

    def _end(
        self, name: str, trace: UUID, span: int, parent: int | None, kind: SpanKind,
        begin: datetime, end: datetime, values: Mapping[str, str | int], status: Status | None = None,
    ) -> None:  # fmt: skip
        self._sending.on_end(
            ReadableSpan(
                name, _context(trace, span), _context(trace, parent) if parent else None, self._resource, values,
                kind=kind, status=status or Status(StatusCode.UNSET), instrumentation_scope=_SCOPE,
                start_time=_nanoseconds(begin), end_time=max(_nanoseconds(begin), _nanoseconds(end)),
            )
        )  # fmt: skip


def _context(trace: UUID, span: int) -> SpanContext:
    return SpanContext(trace.int, span or 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
