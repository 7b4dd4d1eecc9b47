"""The test kit: script calls and webhooks, assert what happened; and the parts that need no telephony: a PBX that
plays recorded calls, a receiver that shows what arrives.

The names below are loaded when they are first used: a scenario without phones does not load what phones need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbxhub.testing.environment import EnvironmentMissingError, env, load_env
    from pbxhub.testing.expectation import Expectation, expect
    from pbxhub.testing.http_call import HttpAnswer, http
    from pbxhub.testing.hub.hub_process import Hub, HubFailedError
    from pbxhub.testing.hub.postgres import postgres_server
    from pbxhub.testing.hub.seen import SeenCall, SeenDelivery, SeenStage
    from pbxhub.testing.pbx.asterisk import Asterisk, running_asterisk
    from pbxhub.testing.pbx.asterisk_install import AsteriskMissingError
    from pbxhub.testing.pbx.played_pbx import PlayedPbx
    from pbxhub.testing.phones.baresip import PhoneFailedError
    from pbxhub.testing.phones.call_quality import Quality, measure
    from pbxhub.testing.phones.phone_call import Call
    from pbxhub.testing.phones.sip_capture import CaptureFailedError, capturing
    from pbxhub.testing.phones.sipp import Sipp, answering_phone, place_calls, redirecting_phone, refusing_phone
    from pbxhub.testing.phones.softphone import Agent
    from pbxhub.testing.phones.tones import file, tone
    from pbxhub.testing.processes import ProgramMissingError
    from pbxhub.testing.receivers.mock_answers import (
        MockAnswer,
        drip,
        hang,
        in_turn,
        json_response,
        reset,
        status_response,
        text_response,
    )
    from pbxhub.testing.receivers.mock_request import MockRequest
    from pbxhub.testing.receivers.mock_server import MockServer, regex
    from pbxhub.testing.waiting import await_until, parallel, wait

_WHERE = {
    "pbx.asterisk": ("Asterisk", "running_asterisk"),
    "pbx.asterisk_install": ("AsteriskMissingError",),
    "phones.baresip": ("PhoneFailedError",),
    "phones.call_quality": ("Quality", "measure"),
    "environment": ("EnvironmentMissingError", "env", "load_env"),
    "expectation": ("Expectation", "expect"),
    "http_call": ("HttpAnswer", "http"),
    "hub.hub_process": ("Hub", "HubFailedError"),
    "receivers.mock_server": ("MockServer", "regex"),
    "receivers.mock_answers": (
        "MockAnswer", "drip", "hang", "in_turn", "json_response", "reset", "status_response", "text_response",
    ),
    "receivers.mock_request": ("MockRequest",),
    "phones.phone_call": ("Call",),
    "pbx.played_pbx": ("PlayedPbx",),
    "hub.postgres": ("postgres_server",),
    "processes": ("ProgramMissingError",),
    "hub.seen": ("SeenCall", "SeenDelivery", "SeenStage"),
    "phones.sip_capture": ("CaptureFailedError", "capturing"),
    "phones.sipp": ("Sipp", "answering_phone", "place_calls", "redirecting_phone", "refusing_phone"),
    "phones.softphone": ("Agent",),
    "phones.tones": ("file", "tone"),
    "waiting": ("await_until", "parallel", "wait"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "Agent",
    "Asterisk",
    "AsteriskMissingError",
    "Call",
    "CaptureFailedError",
    "EnvironmentMissingError",
    "Expectation",
    "HttpAnswer",
    "Hub",
    "HubFailedError",
    "MockAnswer",
    "MockRequest",
    "MockServer",
    "PhoneFailedError",
    "PlayedPbx",
    "ProgramMissingError",
    "Quality",
    "SeenCall",
    "SeenDelivery",
    "SeenStage",
    "Sipp",
    "answering_phone",
    "await_until",
    "capturing",
    "drip",
    "env",
    "expect",
    "file",
    "hang",
    "http",
    "in_turn",
    "json_response",
    "load_env",
    "measure",
    "parallel",
    "place_calls",
    "postgres_server",
    "redirecting_phone",
    "refusing_phone",
    "regex",
    "reset",
    "running_asterisk",
    "status_response",
    "text_response",
    "tone",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
