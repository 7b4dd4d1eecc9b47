"""Makes the filled databases of a release that tests/test_upgrade_a_release.py upgrades.

    python -m tests.support.fill_release PBXHUB VERSION   # PBXHUB: the command of that release, in its own environment

It runs the demo for a minute, uses the API as a program would, kills the hub in the middle of a call, and writes what
was in the database as SQL. Needs nothing of the release but its command, its API and the tables named here.
"""

import gzip
import hashlib
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import requests

from pbxhub.testing import await_until
from pbxhub.testing.hub.postgres import postgres_server
from pbxhub.testing.processes import Program, free_port

HERE = Path(__file__).parents[1] / "releases"
SECRET_KEY = "a" * 43 + "="
API_KEY = "pbx_" + "upgrade" * 5
_SECONDS = 70
_HASH = "$argon2id$v=19$m=65536,t=3,p=4$nosaltnosaltnosalt$nohashnohashnohashnohashnohashnohashnohashnohash00"
Execute = Callable[[str], object]


def main(pbxhub: str, version: str) -> None:
    with tempfile.TemporaryDirectory() as folder, postgres_server() as url:
        file = Path(folder, "pbxhub.sqlite3")
        with closing(sqlite3.connect(file, timeout=20, isolation_level=None)) as connection:
            _run(pbxhub, Path(folder), f"sqlite:///{file}", str(int(time.time() * 1e6)), connection.execute)
            _save(version, "sqlite", "\n".join(connection.iterdump()))
        plain = url.replace("+psycopg", "")
        with psycopg.connect(plain, autocommit=True) as server:
            _run(pbxhub, Path(folder), url, "now()", server.execute)  # type: ignore[arg-type]
        dump = ["pg_dump", "--inserts", "--no-owner", "--no-privileges", plain]
        dumped = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
        _save(version, "postgresql", re.sub(r"^\\(un)?restrict .*\n", "", dumped, flags=re.MULTILINE))  # of psql alone


def _save(version: str, kind: str, text: str) -> None:
    file = HERE / f"{version}.{kind}.sql.gz"
    file.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(file, file.stat().st_size, "bytes")


def _run(pbxhub: str, folder: Path, url: str, now: str, execute: Execute) -> None:
    """The hub of that release, from its first start to a kill -9."""
    port = free_port()
    environ = {
        **os.environ, "PBXHUB_DATA_DIR": str(folder), "PBXHUB_DATABASE_URL": url, "PBXHUB_PORT": str(port),
        "PBXHUB_AGI": "", "PBXHUB_SECRET_KEY": SECRET_KEY,
    }  # fmt: skip
    ends = time.monotonic() + _SECONDS
    hub = Program([pbxhub, "run", "--demo"], folder / "log", None, environ)

    def answers() -> None:
        try:
            assert requests.get(f"http://127.0.0.1:{port}/health", timeout=2).ok
        except requests.ConnectionError:
            raise AssertionError(hub.last_lines()) from None

    await_until(answers, "60s")
    _add_people(execute, now)
    _use_the_api(f"http://127.0.0.1:{port}/api/v1", f"http://127.0.0.1:{port + 1}")
    time.sleep(ends - time.monotonic())
    hub.kill()


def _add_people(execute: Execute, now: str) -> None:
    people = [("anna", "owner", _HASH), ("boris", "editor", _HASH), ("invited", "viewer", "")]
    for number, (name, role, password) in enumerate(people, start=1):
        execute(
            "INSERT INTO user_account (id, email, name, password, active, fs_uniquifier, recovery_codes, language,"
            f" created_on) VALUES ({number}, '{name}@example.com', '', '{password}', true, '{name}', '[]', '', {now})"
        )
        execute(
            "INSERT INTO membership (id, project_id, user_id, role, created_on)"
            f" VALUES ({number}, 1, {number}, '{role}', {now})"
        )
    digest = hashlib.sha256(API_KEY.encode()).hexdigest()
    execute(
        "INSERT INTO api_key (id, project_id, name, key_hash, prefix, scopes, created_on)"
        f""" VALUES (1, 1, 'program', '{digest}', 'pbx_up', '["read", "write", "call"]', {now})"""
    )


def _use_the_api(api: str, receiver: str) -> None:
    program = requests.Session()
    program.headers["X-API-KEY"] = API_KEY

    def ask(method: str, path: str, body: object = None, **headers: str) -> requests.Response:
        answer = program.request(method, api + path, json=body, headers=headers, timeout=10)
        assert answer.ok, f"{method} {path}: {answer.text}"
        return answer

    def webhook(name: str, stage: str, request: dict[str, Any], **more: Any) -> None:
        ask(
            "POST",
            "/webhooks",
            {"name": name, "stage": stage, "spec": {"request": request, **more.pop("spec", {})}, **more},
        )

    secret = {"url": f"{receiver}/basic", "auth": {"kind": "basic", "username": "u"}}
    webhook("With a secret", "incoming.after", secret, secret="s3cret")
    webhook("Form", "form.sent", {"url": f"{receiver}/form", "parameters": [{"name": "n", "value": "<<details>>"}]})
    steering = {"reads": "actions", "numbers": ["_XXX", "38044*", "*8"]}
    webhook("Ask", "call.question", {"url": f"{receiver}/ask"}, spec={"steering": steering})
    ask("POST", "/employees", {"extension": "120", "name": "Ганна"})
    plan = ask("GET", "/pbxs/1/dial-plan")
    ask("PATCH", "/pbxs/1/dial-plan", {"allowed": ["38044*", "*"]}, **{"If-Match": plan.headers["ETag"]})
    for number in range(5):
        ask("POST", "/events/in", {"stage": "form.sent", "key": f"f{number}", "fields": {"email": "a@example.com"}})
    ask("POST", "/attributes", {"number": "+380441234567", "values": {"utm_source": "google"}})
    ask("POST", "/resthooks", {"name": "new-lead"})
    ask("POST", "/resthooks/new-lead/subscribers", {"target_url": f"{receiver}/lead"})
    ask("POST", "/resthooks/new-lead/call", {"payload": {"id": 7}})
    ask("POST", "/calls", {"mobile_number": "380441234567", "agent_id": "101", "callback_url": f"{receiver}/status"})


if __name__ == "__main__":
    main(*sys.argv[1:])
