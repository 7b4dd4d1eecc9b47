"""The resources, one file per family."""

from pbxhub.api.resources import (  # noqa: F401 - their routes are on those of webhooks and calls
    unsent,
    webhook_files,
    webhook_sets,
    webhook_trials,
)
from pbxhub.api.resources.account import account
from pbxhub.api.resources.call_reports import journal
from pbxhub.api.resources.calls import calls
from pbxhub.api.resources.connections import connections
from pbxhub.api.resources.events import events
from pbxhub.api.resources.gallery_and_parameters import catalogue
from pbxhub.api.resources.history import history
from pbxhub.api.resources.hooks import hooks
from pbxhub.api.resources.webhooks import webhooks

BLUEPRINTS = (account, webhooks, connections, calls, journal, history, events, hooks, catalogue)
