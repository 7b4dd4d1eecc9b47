"""Code that nothing uses is deleted. What frameworks, pages and programs use by name is said here, with the reason."""

import re
from itertools import chain
from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).parents[1]
CALLED_BY_FRAMEWORKS = [
    "@*.route", "@*.get", "@*.post", "@*.put", "@*.patch", "@*.delete", "@*.command", "@*.group", "@compiles",
    "@*.app_errorhandler", "@*.errorhandler", "@*.before_request", "@*.after_request",
]  # fmt: skip
NAMES = {
    "asyncio": ["data_received", "eof_received", "connection_lost", "datagram_received"],
    "SQLAlchemy": [
        "impl", "cache_ok", "inherit_cache", "load_dialect_impl", "process_bind_param", "process_result_value",
        "self_group", "against", "isolation_level", "should_evaluate_none",
    ],
    "drivers of databases": ["row_factory", "text_factory", "prepare_threshold"],
    "alembic": ["revision", "down_revision", "branch_labels", "depends_on", "upgrade", "downgrade"],
    "Flask": ["json_provider_class", "sort_keys", "regex", "trim_blocks", "lstrip_blocks", "_login_user"],
    "Flask-Security": [
        "fs_uniquifier", "tf_primary_method", "tf_phone_number", "mf_recovery_codes", "roles", "case_insensitive",
        "find_role", "is_register", "verify_auth_token", "verify_totp", "check_recovery_code", "delete_recovery_code",
    ],
    "flask-smorest": [
        "_raw_load_json", "_register_error_handlers", "_openapi_json", "ARGUMENTS_PARSER", "ERROR_SCHEMA",
    ],
    "WTForms": ["validate_*", "process_formdata", "field_flags", "field_name", "token_name"],
    "waitress": ["parser_class", "channel_class"],
    "logging": ["handlers"],
    "pytest": ["pytest_*"],
    "Python": ["__getattr__", "prec"],
    "annotations in quotes": ["WSGIApplication", "DataclassInstance"],
    "tarfile": ["gid", "gname", "uid", "uname"],
    "requests": ["trust_env"],
    "http.server": [
        "do_POST", "log_message", "handle_error", "protocol_version", "daemon_threads", "request_queue_size",
    ],
    "re2": ["log_errors", "max_mem"],
    "rows of CEL, read by the names of their columns": ["ciddnid", "userfield"],
    "SQLAlchemy's metadata: the modules that bring the tables into it": ["TABLES"],
    "docs/security.md, which a test compares": ["OPERATOR_RIGHTS", "setting"],
    "docs/api, which a test compares": ["STATUSES"],
    "programs in Python": ["Client", "order_call"],
}  # fmt: skip


VALUES = "pbxhub/calls/values.py"  # attributes of a call, read by the names in its table


def unused(*folders: str) -> list[str]:
    """What nothing in these folders uses, nor a page, nor the kit's manual."""
    vulture = Vulture(ignore_names=[*chain(*NAMES.values())], ignore_decorators=CALLED_BY_FRAMEWORKS)
    schemas = ["*/api/schemas/*"]  # a field of an answer is read by programs
    vulture.scavenge([str(ROOT / folder) for folder in folders], exclude=schemas)
    for text in [*ROOT.glob("templates/**/*.html"), *ROOT.glob("docs/testing/*.md"), ROOT / VALUES]:
        vulture.used_names.update(re.findall(r"\w+", text.read_text()))
    return [
        f"{item.filename.relative_to(ROOT)}:{item.first_lineno}: {item.typ} {item.name}"
        for item in vulture.get_unused_code(min_confidence=60)
        if not item.filename.is_relative_to(ROOT / "tests")
    ]


def test_nothing_is_written_that_nothing_uses() -> None:
    assert unused("pbxhub", "migrations", "bench", "tests") == []


def test_no_function_is_there_for_its_test_alone() -> None:
    found = unused("pbxhub", "migrations", "bench")
    kit = "pbxhub/testing/"  # is there for tests
    assert [line for line in found if not re.search(rf"^{kit}|: (variable|attribute) ", line)] == []
