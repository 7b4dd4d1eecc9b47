"""Structured logs: text on a terminal, JSON lines elsewhere. Secrets that redaction.py recognizes are never logged."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from pbxhub.redaction import redact_value


def configure_logs(log_format: str, level: str) -> None:
    """log_format: json, text, or auto (text on a terminal). level: debug, info, warning, error."""
    steps: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _hide_secrets,
    ]
    structlog.configure(
        processors=[*steps, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=steps,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _last_step(log_format)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in ("waitress.queue", "panoramisk", "alembic", "werkzeug"):
        logging.getLogger(chatty).setLevel(logging.ERROR)


def _last_step(log_format: str) -> structlog.typing.Processor:
    if log_format == "json" or (log_format == "auto" and not sys.stderr.isatty()):
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    colors = sys.stderr.isatty()
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)


def _hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Runs after the traceback is formatted, because the message of an exception may contain a URL."""
    for name, value in event.items():
        event[name] = redact_value(value, name)
    return event
