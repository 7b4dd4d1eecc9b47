"""The paths of templates/, static/, migrations/ and asterisk-conf/: beside the package or, in a wheel, inside it."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_ROOT = _PACKAGE / "_data" if (_PACKAGE / "_data").is_dir() else _PACKAGE.parent

TEMPLATES = _ROOT / "templates"
STATIC = _ROOT / "static"
MIGRATIONS = _ROOT / "migrations"
ASTERISK_CONF = _ROOT / "asterisk-conf"
