"""A bare Debian with Python in a folder of its own, for tests that need another system or another Python."""

import shutil
import subprocess
from pathlib import Path

from pbxhub.testing.pbx.asterisk_install import debian_mirror
from pbxhub.testing.processes import program

ROOT = Path(__file__).parents[2]
AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"


def bare_debian(release: str, packages: str) -> Path:
    """The folder of a Debian of this release with these packages, and nothing else. It is made once and kept in
    .cache: copy it, or mount over it, to change something. Needs root."""
    ready = ROOT / ".cache" / f"debian-{release}"
    if not ready.exists():
        part = ready.with_name(f"{ready.name}.part")
        shutil.rmtree(part, ignore_errors=True)  # of a run that was interrupted
        options = ["--variant=minbase", f"--include={packages},ca-certificates"]
        make = [
            program("debootstrap", "debootstrap"),
            *options,
            release,
            part,
            debian_mirror(),
            "sid",
        ]  # its script knows every release
        done = subprocess.run(make, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]
        for name in (AUTHORITIES, "etc/resolv.conf"):
            shutil.copy(f"/{name}", part / name)
        part.rename(ready)
    return ready
