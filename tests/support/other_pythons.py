"""Runs tests on the oldest and on the newest Python that the hub supports, each from Debian's packages: the fast ones,
and the slow ones of the line from Asterisk to the receiver.

    python -m tests.support.other_pythons     # make pythons; needs root

The Python that runs this is left out: `make test` has tried it. Left out are also tests of other programs (phones,
promtool, the documentation's site) and of the code's text, which do not depend on the version of Python.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pbxhub.testing.processes import program
from tests.support.bare_debian import ROOT, bare_debian

PYTHONS = {"3.11": "bookworm", "3.14": "forky"}
"""The Debian that has this Python."""

_NEEDED = "hypothesis pytest-xdist trustme aiosmtpd svix schemathesis simpy"
_LEFT_OUT = (
    "kit", "asterisk", "browser", "test_follow_the_guides.py", "test_delete_dead_code.py", "test_watch_the_hub.py",
    "test_release_a_version.py",
)  # fmt: skip
_FAST = "not slow and not asterisk and not browser"
_LINE = "tests/test_listen_to_a_pbx.py tests/test_connect_to_a_pbx.py tests/test_deliver_calls.py"
"""Loops, threads and sockets, on which versions of Python differ most: their slow tests are run too."""

_RUN = f"""
python{{version}} -m venv /mnt/venv
/mnt/venv/bin/pip install -q -c constraints.txt '.[testing,otel]' {_NEEDED} 2> /dev/null
pytest="/mnt/venv/bin/python -m pytest -q -o cache_dir=/mnt/cache {{left_out}}"
$pytest -n 2 --dist worksteal -m '{_FAST}' || $pytest --lf -m '{_FAST}'
$pytest -n 2 -m slow -k 'not postgresql' {_LINE} || $pytest --lf -m slow -k 'not postgresql' {_LINE}
"""


def main() -> None:
    for version, release in PYTHONS.items():
        if not sys.version.startswith(f"{version}."):
            print(f"the fast tests on Python {version} of Debian {release}", flush=True)
            _run_tests(version, bare_debian(release, f"python{version},python{version}-venv,curl,git"))


def _run_tests(version: str, debian: Path) -> None:
    """In a mount namespace: the checkout at /srv, read-only, and an empty /mnt and /tmp."""
    mounts = [
        "mount --make-rprivate /",
        f"mount -t proc proc {debian}/proc",
        f"mount --bind /dev {debian}/dev",
        f"mount --bind {ROOT} {debian}/srv",
        f"mount -o remount,bind,ro {debian}/srv",
        f"mount -t tmpfs -o mode=1777 none {debian}/tmp",
        f'mount --bind "$0" {debian}/mnt',
    ]
    left_out = " ".join(f"--ignore tests/{name}" for name in _LEFT_OUT)
    script = f"set -e; cd /srv; {_RUN.format(version=version, left_out=left_out)}"
    pip = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("PIP_")]
    settings = ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/mnt", "LANG=C.UTF-8",
                "PYTHONPYCACHEPREFIX=/mnt/compiled", "HYPOTHESIS_STORAGE_DIRECTORY=/mnt/hypothesis"]  # fmt: skip
    inside = ["chroot", debian, "/usr/bin/env", "-i", *settings, *pip, "sh", "-c", script]
    with tempfile.TemporaryDirectory() as empty:
        command = [program("unshare", "util-linux"), "--mount", "sh", "-c", " && ".join([*mounts, 'exec "$@"']), empty]
        subprocess.run([*command, *inside], check=True)


if __name__ == "__main__":
    main()
