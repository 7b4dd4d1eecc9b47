"""One application for all tests of a process: building it and compiling its templates takes longer than most tests.

Each test gives it an installation of its own: database, settings, sender. What the API counts in memory begins anew.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from flask import Flask
from jinja2 import FileSystemBytecodeCache

from pbxhub import api, web
from pbxhub.account.installation import Installation
from pbxhub.api import rates, streams
from pbxhub.delivery.context import DeliveryContext
from pbxhub.finding import Finding
from pbxhub.sending.address_guard import AddressGuard
from pbxhub.sending.sender import Sender
from pbxhub.settings import Settings
from pbxhub.store.accounts import Pbx
from pbxhub.web import create_app

_BUILT: dict[object, Flask] = {}


def shared_app(
    settings: Settings,
    context: DeliveryContext,
    guard: AddressGuard | None = None,
    check_pbx: Callable[[Pbx, bool], Sequence[Finding]] = lambda pbx, operator: (),
) -> Flask:
    """As web.create_app and api.install make it of these. The one of the test before ends to work."""
    nowhere = Path()
    of_all = replace(settings, data_dir=nowhere, recordings=nowhere, sounds=nowhere, database_url="", secret_key=b"")
    key = (of_all, context.vault.derive("sessions"))
    if key not in _BUILT:
        _BUILT[key] = create_app(settings, context)
        keep_compiled_templates(_BUILT[key])
        api.install(_BUILT[key])
    app = _BUILT[key]
    guard = guard or AddressGuard(settings.allowed_networks)
    hub = Installation(settings, context, lambda: guard, Sender(AddressGuard()), None, check_pbx)
    app.extensions["pbxhub"] = app.extensions["pbxhub.api"].extensions["pbxhub"] = hub
    app.testing = False
    _begin_anew(app.extensions["pbxhub.api"])
    return app


def keep_compiled_templates(app: Flask) -> None:
    """In a folder that all processes share: each would compile all templates. Jinja does not see that a setting of its
    environment has changed, so the folder is named after the file with the settings and after Jinja's version."""
    made_by = Path(web.__file__).read_bytes() + version("jinja2").encode()
    name = f"pbxhub-templates-{os.getuid()}-{hashlib.sha256(made_by).hexdigest()[:12]}"
    folder = Path(tempfile.gettempdir()) / name  # the checkout may be read-only
    folder.mkdir(mode=0o700, exist_ok=True)
    app.jinja_env.bytecode_cache = FileSystemBytecodeCache(str(folder))


def _begin_anew(programs: Flask) -> None:
    programs.config["API_RATE"] = rates.LIMIT
    programs.extensions["pbxhub.rates"].reset()
    streams.install(programs, 8)
