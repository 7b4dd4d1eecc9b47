"""One module per family of pages, each with its blueprint."""

from flask import Blueprint

from pbxhub.web.pages import (
    audit,
    calls,
    dashboard,
    deliveries,
    editor,
    errors,
    exports,
    health,
    home,
    keys,
    members,
    numbers,
    operator,
    pbxs,
    people,
    profile,
    project,
    recordings,
    setup,
    steering,
)

BLUEPRINTS: tuple[Blueprint, ...] = (
    health.pages,
    setup.pages,
    home.pages,
    profile.pages,
    project.pages,
    calls.pages,
    dashboard.pages,
    deliveries.pages,
    errors.pages,
    exports.pages,
    editor.pages,
    pbxs.pages,
    people.pages,
    numbers.pages,
    members.pages,
    keys.pages,
    audit.pages,
    operator.pages,
    recordings.pages,
    steering.pages,
)
