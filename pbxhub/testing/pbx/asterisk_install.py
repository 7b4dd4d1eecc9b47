"""Gets a real Asterisk 22, 20, 18 or 16 for tests, without being root.

Debian unstable packages Asterisk 22, Ubuntu 24.04 packages 20, Ubuntu 22.04 18, Debian 11 16; no current stable Debian
has any. debootstrap downloads them with everything they link to, dpkg-deb unpacks, and the programs run in place
through their own dynamic loader: no chroot, nothing installed on the machine, files at the same path for Asterisk and
for the tests.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pbxhub.paths import ASTERISK_CONF

SUITES = {22: "sid", 20: "noble", 18: "jammy", 16: "bullseye"}
_OF_UBUNTU = (20, 18)
_UBUNTU_SCRIPT = "/usr/share/debootstrap/scripts/gutsy"  # for every Ubuntu since then
_USUAL = (22, 16)  # what all tests on a real Asterisk run on
_UNUSED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/perl",
    "usr/share/info",
    "usr/share/zoneinfo",
)


class AsteriskMissingError(Exception):
    """No Asterisk of that version here and none could be fetched. The text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Installation:
    """An unpacked Asterisk: its major version and the folder that stands for its file system."""

    version: int
    folder: Path

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs this asterisk with these arguments."""
        libraries = ":".join(str(path) for path in self._libraries())
        loader = str(self._find("usr/lib/*/ld-linux*.so.*", "lib/*/ld-linux*.so.*"))
        return [loader, "--library-path", libraries, str(self.folder / "usr/sbin/asterisk"), *arguments]

    @property
    def modules(self) -> Path:
        """The folder of its modules."""
        return self._find("usr/lib/*/asterisk/modules", "usr/lib/asterisk/modules")

    @property
    def data(self) -> Path:
        """Its data folder (sounds, documentation), read-only."""
        return self.folder / "usr/share/asterisk"

    def _libraries(self) -> list[Path]:
        patterns = ("usr/lib/*-linux-gnu*", "lib/*-linux-gnu*", "usr/lib", "lib")
        found = [path.resolve() for pattern in patterns for path in sorted(self.folder.glob(pattern)) if path.is_dir()]
        return list(dict.fromkeys(found))  # lib may be a link to usr/lib

    def _find(self, *patterns: str) -> Path:
        for pattern in patterns:
            for path in sorted(self.folder.glob(pattern)):
                return path
        raise AsteriskMissingError(f"{self.folder} is damaged: no {patterns[0]}; delete the folder and try again")


def asterisk(version: int) -> Installation:
    """The Asterisk of this major version, fetched first when it is not in the cache yet.

    The cache is .cache/asterisk of the checkout, or the folder named by ASTERISK_CACHE. Debian's mirror is the one that
    apt of this machine uses, or ASTERISK_MIRROR; Ubuntu's is ASTERISK_UBUNTU_MIRROR. Raises AsteriskMissingError.
    """
    cache = cache_folder()
    ready = Installation(version, cache / str(version))
    if not ready.folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f"{version}.lock"):
            if not ready.folder.is_dir():
                _fetch(version, cache, ready.folder)
    return ready


def cache_folder() -> Path:
    """Where unpacked Asterisks are kept, outside git."""
    named = os.environ.get("ASTERISK_CACHE")
    return Path(named).resolve() if named else ASTERISK_CONF.parent / ".cache" / "asterisk"


def _fetch(version: int, cache: Path, ready: Path) -> None:
    """Makes the folder in one rename, so that a half-made one is never taken for ready."""
    part = Path(tempfile.mkdtemp(prefix=f"{version}.part-", dir=cache))
    try:
        packages = _download(version, part / "download")
        root = part / "root"
        root.mkdir()
        _unpack(packages, root)
        _tidy(root)
        _check(Installation(version, root))
        root.rename(ready)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _download(version: int, folder: Path) -> list[Path]:
    program = shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or shutil.which("dpkg-deb") is None:
        raise AsteriskMissingError("debootstrap and dpkg are missing: apt-get install -y debootstrap dpkg")
    options = ["--download-only", "--variant=minbase", "--include=asterisk"]
    if version in _OF_UBUNTU:  # a Debian without the keys of Ubuntu would install what nobody has signed
        options += ["--components=main,universe", "--force-check-gpg"]
        source = [_ubuntu_mirror(version), _UBUNTU_SCRIPT]
    else:
        source = [debian_mirror()]
    _run(f"Asterisk {version} cannot be downloaded", program, *options, SUITES[version], str(folder), *source)
    return sorted((folder / "var/cache/apt/archives").glob("*.deb"))


def debian_mirror() -> str:
    """The URI of the Debian archive this machine's apt uses; read when needed, kept nowhere."""
    named = os.environ.get("ASTERISK_MIRROR")
    if named:
        return named
    targets = ["indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages"]
    if shutil.which("apt-get"):
        done = subprocess.run(["apt-get", *targets], capture_output=True, text=True)
        for line in done.stdout.splitlines():
            if line.startswith("Debian|Debian|"):
                return line.rpartition("|")[2]
    raise AsteriskMissingError(
        "apt of this machine knows no Debian archive to take Asterisk from: run apt-get update on Debian, "
        "or set ASTERISK_MIRROR to the URI of a Debian mirror"
    )


def _ubuntu_mirror(version: int) -> str:
    named = os.environ.get("ASTERISK_UBUNTU_MIRROR")
    if not named:
        raise AsteriskMissingError(
            f"Asterisk {version} is packaged by Ubuntu: set ASTERISK_UBUNTU_MIRROR to the URI of an Ubuntu mirror"
        )
    return named


def _unpack(packages: list[Path], root: Path) -> None:
    if not packages:
        raise AsteriskMissingError("debootstrap downloaded nothing; run it by hand to see why")
    base = [package for package in packages if package.name.startswith("base-files_")]
    for package in base:  # first: on unstable it brings lib -> usr/lib
        _extract(package, root)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda package: _extract(package, root), (p for p in packages if p not in base)))


def _extract(package: Path, root: Path) -> None:
    _run(f"{package.name} cannot be unpacked", "dpkg-deb", "-x", str(package), str(root))


def _tidy(root: Path) -> None:
    """Drops what no test reads, and sets the links that maintainer scripts would."""
    for path in _UNUSED:
        shutil.rmtree(root / path, ignore_errors=True)
    sounds = root / "usr/share/asterisk/sounds"
    for link in ("en", "en_US"):
        (sounds / link).unlink(missing_ok=True)
        (sounds / link).symlink_to("en_US_f_Allison")


def _check(made: Installation) -> None:
    command = made.command("-V")
    text = _run(f"Asterisk {made.version} does not start", *command)
    if not text.startswith(f"Asterisk {made.version}."):
        raise AsteriskMissingError(
            f"{SUITES[made.version]} now has {text.strip()} where {made.version} was wanted; "
            "set ASTERISK_MIRROR to an archive that still has it"
        )


def _run(failure: str, *command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        keys = " (apt-get install ubuntu-keyring)" if "ubuntu-archive-keyring" in done.stderr + done.stdout else ""
        raise AsteriskMissingError(f"{failure}: {' '.join(said)}{keys}")
    return done.stdout


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time fetches; the lock ends with the process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Fetches the versions named on the command line, 22 and 16 by default, at the same time."""
    versions = [int(text) for text in sys.argv[1:]] or _USUAL
    with ThreadPoolExecutor(len(versions)) as pool:
        try:
            for made in pool.map(asterisk, versions):
                print(f"Asterisk {made.version} is ready in {made.folder}")  # noqa: T201
        except AsteriskMissingError as error:
            print(error, file=sys.stderr)  # noqa: T201
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
