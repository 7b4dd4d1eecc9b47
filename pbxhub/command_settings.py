"""The settings of a command, and the logs of those that write any: a list of users is there before structlog is."""

from importlib.util import find_spec

import click

from pbxhub.settings import Settings, SettingsError, read_settings


def load_settings() -> Settings:
    """Reads PBXHUB_*."""
    try:
        settings = read_settings()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    if settings.otlp and find_spec("opentelemetry") is None:
        raise click.ClickException("PBXHUB_OTLP: OpenTelemetry is not installed. Run: pip install 'pbxhub[otel]'")
    return settings


def set_up_logs(settings: Settings) -> None:
    """Before anything is logged."""
    from pbxhub.logs import configure_logs

    configure_logs(settings.log_format, settings.log_level)
