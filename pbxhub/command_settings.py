"""The settings of a command, and its logs."""

from importlib.util import find_spec

import click

from pbxhub.logs import configure_logs
from pbxhub.settings import Settings, SettingsError, read_settings


def load_settings() -> Settings:
    """Reads PBXHUB_* and sets up the logs."""
    try:
        settings = read_settings()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    if settings.otlp and find_spec("opentelemetry") is None:
        raise click.ClickException("PBXHUB_OTLP: OpenTelemetry is not installed. Run: pip install 'pbxhub[otel]'")
    configure_logs(settings.log_format, settings.log_level)
    return settings
