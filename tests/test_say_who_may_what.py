"""Somebody reads docs/security.md: its tables are those that pages and API ask.

After changing a table: python -m tests.test_say_who_may_what writes it into the document.
"""

import re
from pathlib import Path

from pbxhub.account.access import OPERATOR_RIGHTS, RIGHTS, ROLES, SCOPES, rights_of_role, rights_of_scopes

DOCUMENT = Path(__file__).parents[1] / "docs" / "security.md"


def rights() -> str:
    rows = [f"| | {' | '.join(ROLES)} | {' | '.join(f'`{scope}`' for scope in SCOPES)} |", "|---|" + "---|" * 7]
    for right, rule in RIGHTS.items():
        people = [right in rights_of_role(role) for role in ROLES]
        programs = [right in rights_of_scopes([scope]) for scope in SCOPES]
        rows.append(f"| {rule.what} | " + " | ".join("yes" if may else "" for may in people + programs) + " |")
    return "\n".join(rows)


def operator_rights() -> str:
    rows = ["| | operator | everybody who signs in |", "|---|---|---|"]
    for rule in OPERATOR_RIGHTS.values():
        rows.append(f"| {rule.what} | yes | {f'with `{rule.setting}`' if rule.setting else ''} |")
    return "\n".join(rows)


def written(text: str) -> str:
    for name, table in (("rights", rights()), ("operator rights", operator_rights())):
        text = re.sub(
            f"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.S
        )
    return text


def test_the_document_has_the_tables_of_the_code() -> None:
    text = DOCUMENT.read_text()
    assert rights() in text
    assert operator_rights() in text


def test_no_scope_gives_a_right_of_operators() -> None:
    assert not set(OPERATOR_RIGHTS) & rights_of_scopes([*SCOPES])
    assert not set(OPERATOR_RIGHTS) & rights_of_role("owner")


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text()))
