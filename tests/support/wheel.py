"""The wheel and the source distribution of the hub, built as a release is."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build_wheel(folder: Path, source: Path = ROOT) -> Path:
    """Builds it into the folder and returns its file."""
    return _build("wheel", folder, source)


def build_sdist(folder: Path) -> Path:
    """Builds it into the folder and returns its file."""
    return _build("sdist", folder, ROOT)


def _build(kind: str, folder: Path, source: Path) -> Path:
    build = f"import hatchling.build, sys; print(hatchling.build.build_{kind}(sys.argv[1]))"
    built = subprocess.run(
        [sys.executable, "-c", build, folder], cwd=source, capture_output=True, text=True, check=True
    )
    return folder / built.stdout.split()[-1]
