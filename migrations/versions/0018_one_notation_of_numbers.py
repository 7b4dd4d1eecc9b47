"""One notation for the numbers that may be called: dial plans take that of Asterisk, webhooks lose what never matched.

Every rule goes on to match what it matched. A dial plan had digits with an optional + and a * at the end for "anything
or nothing after it". A webhook had Asterisk's patterns already, but also plain numbers with the key * in them, which
now begin with _, brackets that are now refused, and rules that no number could match.
"""

import re
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_plans = sa.table("dial_plan", sa.column("pbx_id"), sa.column("allowed", _json))
_webhooks = sa.table("webhook", sa.column("id"), sa.column("project_id"), sa.column("spec", _json))
_versions = sa.table("webhook_version", sa.column("webhook_id"), sa.column("revision"), sa.column("spec", _json))
_projects = sa.table("project", sa.column("id"), sa.column("webhooks_revision"))
_next_revision = _projects.c.webhooks_revision + 1  # running processes read their webhooks again
_LONGEST = 32


def upgrade() -> None:
    connection = op.get_bind()
    _rewrite_plans(connection, _rule_of_plan)
    for row in connection.execute(sa.select(_webhooks)).all():
        if spec := _changed(row.spec):
            connection.execute(_webhooks.update().where(_webhooks.c.id == row.id).values(spec=spec))
            project = _projects.c.id == row.project_id
            connection.execute(_projects.update().where(project).values(webhooks_revision=_next_revision))
    for row in connection.execute(sa.select(_versions)).all():
        if spec := _changed(row.spec):
            one = (_versions.c.webhook_id == row.webhook_id) & (_versions.c.revision == row.revision)
            connection.execute(_versions.update().where(one).values(spec=spec))


def downgrade() -> None:
    _rewrite_plans(op.get_bind(), _former_rule)


def _rewrite_plans(connection: sa.Connection, rewrite: Any) -> None:
    for row in connection.execute(sa.select(_plans)).all():
        allowed = [new for rule in row.allowed for new in rewrite(rule)]
        connection.execute(_plans.update().where(_plans.c.pbx_id == row.pbx_id).values(allowed=allowed))


def _changed(spec: Any) -> Any:
    """The webhook with its rules rewritten; None when nothing changes."""
    rules = (spec.get("steering") or {}).get("numbers")
    new = [each for rule in rules or () for each in _rule_of_webhook(rule)]
    return {**spec, "steering": {**spec["steering"], "numbers": new}} if rules and new != rules else None


def _rule_of_plan(rule: str) -> list[str]:
    if rule in ("*", "+*"):
        return ["_X.", "_+X."] if rule == "*" else ["_+X."]
    if len(rule.removesuffix("*").removeprefix("+")) > _LONGEST:
        return []
    return [f"_{rule[:-1]}!" if rule.endswith("*") else rule]


def _former_rule(rule: str) -> list[str]:
    if rule in ("_X.", "_+X."):
        return ["*" if rule == "_X." else "+*"]
    beginning = re.fullmatch(r"_(\+?[0-9]+)[.!]", rule)
    return [f"{beginning[1]}*"] if beginning else [rule] if re.fullmatch(r"\+?[0-9]+", rule) else []


def _rule_of_webhook(rule: str) -> list[str]:
    if not rule.startswith("_"):
        return [f"_{rule}" if "*" in rule else rule]
    if rule in ("_.", "_!"):  # now refused; + was not among what . and ! stood for
        return ["_X!", "_*!", "_#!"]
    positions = re.findall(r"\[[^\]]*\]|.", rule.removeprefix("_").removeprefix("+"))
    plain = [_brackets(each) if each.startswith("[") else each for each in positions]
    never = not plain or "[]" in plain or len(plain) - (plain[-1] == "!") > _LONGEST
    return [] if never else ["_" + "+" * rule.startswith("_+") + "".join(plain)]


def _brackets(text: str) -> str:
    """Digits and rising ranges as they are; with anything else in them, as the digits that they matched."""
    if re.fullmatch(r"\[(?:[0-9](?:-[0-9])?)+\]", text):
        return text
    try:
        return "[" + "".join(digit for digit in "0123456789" if re.fullmatch(text, digit)) + "]"
    except re.error:
        return "[]"
