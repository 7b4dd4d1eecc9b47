"""The pages in production: gunicorn with threads, configured from the settings."""

from flask import Flask
from gunicorn.app.base import BaseApplication

from pbxhub.settings import Settings


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, app: Flask, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        self.cfg.set("bind", f"{self._settings.bind}:{self._settings.port}")
        self.cfg.set("workers", 2)
        self.cfg.set("threads", 8)
        self.cfg.set("graceful_timeout", 8)
        self.cfg.set("proc_name", "pbxhub web")

    def load(self) -> Flask:
        return self._app


def serve(app: Flask, settings: Settings) -> None:
    """Serves until SIGTERM; requests under way get 8 s to finish. The database pool must not be open yet: each
    worker process opens its own connections."""
    _Server(app, settings).run()
