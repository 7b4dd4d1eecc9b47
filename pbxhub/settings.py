"""One Settings object, read once from PBXHUB_* variables. A wrong variable stops the start with a message naming it."""

import base64
import ipaddress
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from pbxhub.database_url import read_database_url, sqlite_url
from pbxhub.vault import KEY_BYTES, split_keys

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
T = TypeVar("T")
_GOOD_PATH = re.compile(r"(/[A-Za-z0-9._~-]*[A-Za-z0-9_~-])*/?")  # of PUBLIC_URL: nothing to encode, no ".."
_SECRETS = (
    "SECRET_KEY",
    "HEALTH_TOKEN",
    "SMTP",
    "DATABASE_URL",
    "DATABASE_DIRECT_URL",
)  # whose values never appear in a message


class SettingsError(Exception):
    """A variable has a wrong value. The message names the variable and says what to write."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """The mail server. timeout: seconds for each step of SMTP. starttls: encrypt before logging in."""

    host: str
    port: int
    sender: str
    username: str = ""
    password: str = field(default="", repr=False)
    starttls: bool = True
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings. Every field is the variable PBXHUB_<NAME>; see docs/settings.md.

    data_dir: folder of the SQLite file and of the key created on first start.
    database_url: SQLAlchemy URL; SQLite in data_dir by default. database_direct_url: the same database without the
    transaction pooler in front of it; empty without a pooler.
    secret_key: the keys of 32 bytes, joined, that encrypt stored secrets: the first one encrypts, all decrypt; empty
    while this host has none (with_key).
    bind / port: where the pages listen. public_url: how browsers reach them, without a trailing slash.
    trusted_proxies: networks of reverse proxies whose X-Forwarded-For is trusted.
    allowed_networks: private networks that webhooks may reach.
    projects: who may create projects, "operator" or "everyone" who signs in.
    workers: HTTP requests that may be in flight at once in one process.
    listen_sends: whether `pbxhub listen` sends the first attempts of what it reports (PostgreSQL).
    stage_memory: stages the listener keeps in memory while the database is unavailable; then it disconnects from the
    PBX.
    metrics: address and port for Prometheus, or None. mail: None sends no mail.
    otlp: URL of an OpenTelemetry collector, without a trailing slash; "" traces nothing.
    health_token: opens /health/parts to monitors; "" keeps it to operators.
    keep_*: days that deliveries, calls and the AMI events of calls (0: none) are kept.
    pause_*: a webhook is paused after this many consecutive final failures, if they span this many hours.
    largest_file: bytes of the largest recording that a request sends.
    recordings: the folder into which the PBX records, as the hub sees it.
    agi: address and port for FastAGI, or None. agi_networks: from where Asterisk may connect to it.
    sounds: the folder for sounds that answers name by URL; Asterisk plays them from there.
    """

    data_dir: Path
    database_url: str = field(repr=False)
    database_direct_url: str = field(repr=False)
    secret_key: bytes = field(repr=False)
    bind: str
    port: int
    public_url: str
    trusted_proxies: tuple[Network, ...]
    allowed_networks: tuple[Network, ...]
    projects: str
    workers: int
    listen_sends: bool
    stage_memory: int
    metrics: tuple[str, int] | None
    health_token: str = field(repr=False)
    otlp: str
    mail: MailServer | None
    keep_delivered: int
    keep_failed: int
    keep_calls: int
    keep_call_events: int
    pause_failures: int
    pause_hours: int
    largest_file: int
    recordings: Path
    agi: tuple[str, int] | None
    agi_networks: tuple[Network, ...]
    sounds: Path
    log_format: str
    log_level: str

    @property
    def public_path(self) -> str:
        """The path under which a proxy serves the hub, "/pbx" for https://host/pbx; "" for a host of its own."""
        return urlsplit(self.public_url).path

    @property
    def key_file(self) -> Path:
        """Where this host keeps its key when PBXHUB_SECRET_KEY gives none."""
        return self.data_dir / "secret.key"


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads PBXHUB_* once. Raises SettingsError, which names the variable; unknown PBXHUB_* names are refused, too."""
    variables = _Variables(os.environ if environ is None else environ)
    data_dir = variables.read("DATA_DIR", "data", _folder)
    bind = variables.read("BIND", "127.0.0.1", _address)
    port = variables.read("PORT", "8080", _between(1, 65535))
    settings = Settings(
        data_dir=data_dir,
        database_url=variables.read("DATABASE_URL", sqlite_url(str(data_dir / "pbxhub.sqlite3")), read_database_url),
        database_direct_url=variables.read("DATABASE_DIRECT_URL", "", _direct_url),
        secret_key=variables.read("SECRET_KEY", "", _keys) or _key_file(data_dir / "secret.key"),
        bind=bind,
        port=port,
        public_url=variables.read("PUBLIC_URL", f"http://{bind}:{port}", _public_url),
        trusted_proxies=variables.read("TRUSTED_PROXIES", "", _networks),
        allowed_networks=variables.read("ALLOWED_NETWORKS", "", _networks),
        projects=variables.read("PROJECTS", "operator", _one_of("operator", "everyone")),
        workers=variables.read("WORKERS", "256", _between(1, 2000)),
        listen_sends=variables.read("LISTEN_SENDS", "yes", _one_of("yes", "no")) == "yes",
        stage_memory=variables.read("STAGE_MEMORY", "100000", _between(100, 10_000_000)),
        metrics=variables.read("METRICS", "", _endpoint),
        health_token=variables.read("HEALTH_TOKEN", "", _token),
        otlp=variables.read("OTLP", "", _collector),
        mail=_mail(variables),
        keep_delivered=variables.read("KEEP_DELIVERED", "30", _between(1, 36500)),
        keep_failed=variables.read("KEEP_FAILED", "90", _between(1, 36500)),
        keep_calls=variables.read("KEEP_CALLS", "365", _between(1, 36500)),
        keep_call_events=variables.read("KEEP_CALL_EVENTS", "7", _between(0, 36500)),
        pause_failures=variables.read("PAUSE_FAILURES", "50", _between(0, 1_000_000)),
        pause_hours=variables.read("PAUSE_HOURS", "6", _between(0, 8760)),
        largest_file=variables.read("LARGEST_FILE_MB", "100", _between(1, 2000)) * 1_000_000,
        recordings=variables.read("RECORDINGS", "/var/spool/asterisk/monitor", Path),
        agi=variables.read("AGI", "127.0.0.1:4573", _endpoint),
        agi_networks=variables.read("AGI_NETWORKS", "127.0.0.0/8,::1/128", _networks),
        sounds=variables.read("SOUNDS", str(data_dir / "sounds"), _folder),
        log_format=variables.read("LOG_FORMAT", "auto", _one_of("auto", "json", "text")),
        log_level=variables.read("LOG_LEVEL", "info", _one_of("debug", "info", "warning", "error")),
    )
    variables.refuse_unknown()
    return settings


class _Variables:
    """Reads variables one by one and collects the valid names, so that a misspelled one is refused."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._names: set[str] = set()

    def read(self, name: str, default: str, convert: Callable[[str], T]) -> T:
        variable = f"PBXHUB_{name}"
        self._names.add(variable)
        text = self._environ.get(variable, default).strip()
        try:
            return convert(text)
        except ValueError as error:
            shown = "" if name in _SECRETS else f"={text!r}"
            raise SettingsError(f"{variable}{shown}: {error}") from None

    def refuse_unknown(self) -> None:
        unknown = sorted(name for name in self._environ if name.startswith("PBXHUB_") and name not in self._names)
        if unknown:
            names = ", ".join(sorted(self._names))
            raise SettingsError(f"{unknown[0]} is not a setting of pbxhub. The settings are: {names}")


def _mail(variables: _Variables) -> MailServer | None:
    server = variables.read("SMTP", "", _smtp)
    sender = variables.read("MAIL_FROM", "", _mail_address)
    if server is None:
        return None
    if not sender:
        raise SettingsError("PBXHUB_MAIL_FROM: give the sender's address, such as pbxhub@example.com")
    return replace(server, sender=sender)


def _smtp(text: str) -> MailServer | None:
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in ("smtp", "smtp+plain") or not parts.hostname:
        raise ValueError("give smtp://USER:PASSWORD@HOST:587, or smtp+plain:// for a server without encryption")
    return MailServer(
        parts.hostname, parts.port or 587, "", unquote(parts.username or ""), unquote(parts.password or ""),
        parts.scheme == "smtp",
    )  # fmt: skip


def _mail_address(text: str) -> str:
    if text and ("@" not in text or any(character.isspace() for character in text)):
        raise ValueError("give one address, such as pbxhub@example.com")
    return text


def _endpoint(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    host, _, port = text.rpartition(":")
    try:
        return _address(host.strip("[]")), _between(1, 65535)(port)
    except ValueError:
        raise ValueError("give ADDRESS:PORT, such as 127.0.0.1:9108") from None


def _address(text: str) -> str:
    if text == "localhost":
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("give the IP address to listen on, such as 127.0.0.1 or 0.0.0.0") from None


def _between(low: int, high: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise ValueError(f"give a whole number from {low} to {high}")
        return int(text)

    return convert


def _collector(text: str) -> str:
    parts = urlsplit(text)
    good = parts.scheme in ("http", "https") and parts.hostname and not parts.query and _has_good_port(text)
    if text and not good:
        raise ValueError("give the address of an OTLP collector over HTTP, such as http://127.0.0.1:4318")
    return text.rstrip("/")


def _token(text: str) -> str:
    if text and (len(text) < 16 or not text.isascii() or not text.isprintable() or " " in text):
        raise ValueError("give at least 16 letters and digits, such as the output of: openssl rand -hex 16")
    return text


def _one_of(*choices: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"give one of {', '.join(choices)}")
        return text.lower()

    return convert


def _folder(text: str) -> Path:
    try:
        return Path(text).expanduser().resolve()
    except RuntimeError:
        raise ValueError("give a folder; the user after ~ does not exist") from None


def _direct_url(text: str) -> str:
    if not text:
        return ""
    url = read_database_url(text)
    if url.startswith("sqlite:"):
        raise ValueError("give the URL of a PostgreSQL database, or leave it empty: only PostgreSQL can have a pooler")
    return url


def _has_good_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _public_url(text: str) -> str:
    parts = urlsplit(text)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or not _has_good_port(text)
        or not _GOOD_PATH.fullmatch(parts.path)
    ):
        raise ValueError(
            "give the address that browsers use, such as https://pbx.example.com or https://example.com/pbx"
        )
    return text.rstrip("/")


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(f"{error}; give networks like 192.168.10.0/24, separated by commas") from None


def _keys(text: str) -> bytes:
    """One key, or several, separated by commas."""
    return b"".join(_key(part.strip()) for part in text.split(",")) if text else b""


def _key(text: str) -> bytes:
    try:
        key = base64.urlsafe_b64decode(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("give 32 random bytes in URL-safe base64; several keys are separated by commas")
    return key


def key_text(keys: bytes) -> str:
    """Keys as the variable and the key file hold them."""
    return ",".join(base64.urlsafe_b64encode(key).decode() for key in split_keys(keys))


def with_key(settings: Settings) -> Settings:
    """The settings with the key of this host; creates the key file when there is none. Call it only when the database
    has no key yet (store/key_check.py): a second host with its own key could not decrypt the first one's secrets."""
    if settings.secret_key:
        return settings
    path = settings.key_file
    try:
        _make_key(path)
    except OSError as error:
        raise _cannot_keep(path, error) from None
    return replace(settings, secret_key=_key_file(path))


def _cannot_keep(path: Path, error: OSError) -> SettingsError:
    return SettingsError(f"PBXHUB_DATA_DIR: cannot save the secret key in {path}: {error.strerror}")


def _key_file(path: Path) -> bytes:
    """The key in the data folder; b"" when there is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            return b""
        key = _keys(path.read_text().strip())
        if not key:
            raise ValueError(
                "it is empty. Restore it from a backup; without one, delete it and enter all secrets again"
            )
        return key
    except OSError as error:
        raise _cannot_keep(path, error) from None
    except ValueError as error:
        raise SettingsError(f"PBXHUB_SECRET_KEY: the key in {path} is damaged: {error}") from None


def _make_key(path: Path) -> None:
    """Creates the key file in one step: two processes that start at once, or a full disk, cannot damage it."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # readable by the owner only
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(key_text(os.urandom(KEY_BYTES)).encode())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
