"""Presets of connections: each can be filled in, and then is right by the rules."""

import re

import pytest

from pbxhub.webhooks.connection_check import check_connection
from pbxhub.webhooks.connection_presets import Preset, filled_in, find_preset, presets
from pbxhub.webhooks.connection_spec import dump_connection, load_connection, may_go_to
from pbxhub.webhooks.spec import SpecError

NEEDED = {"google", "google-service", "hubspot", "hubspot-private", "zoho", "kommo", "amocrm", "bitrix24", "salesforce",
          "pipedrive", "odoo"}  # fmt: skip


def test_the_common_systems_are_there() -> None:
    assert {preset.id for preset in presets()} == NEEDED
    assert find_preset("no-such-system") is None


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.id)
def test_a_preset_with_its_values_is_right(preset: Preset) -> None:
    data = dump_connection(preset.spec)
    answers = {ask.name: ask.example for ask in preset.ask}
    filled = filled_in(preset, data, answers)
    assert "[[" not in f"{filled}"
    if "oauth" in filled:
        filled["oauth"]["client_id"] = "ours"
    spec = load_connection(filled)
    assert check_connection(spec) == []
    assert not spec.test_url or may_go_to(spec, spec.test_url)
    assert not may_go_to(spec, "https://evil.example.com/")
    asked = {name for text in re.findall(r"\[\[(\w+)\]\]", f"{data}") for name in [text]}
    assert asked == set(answers)


def test_what_is_missing_is_named() -> None:
    preset = find_preset("zoho")
    assert preset
    with pytest.raises(SpecError) as refused:
        filled_in(preset, dump_connection(preset.spec), {"domain": " "})
    assert [error.path for error in refused.value.errors] == ["ask.domain"]
