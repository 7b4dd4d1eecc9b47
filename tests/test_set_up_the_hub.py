"""An operator sets PBXHUB_* variables and starts the hub."""

import base64
import re
import resource
import signal
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pbxhub.settings import SettingsError, read_settings, with_key

DOCS = Path(__file__).parent.parent / "docs" / "settings.md"


def test_without_any_variable_everything_has_a_default(tmp_path: Path) -> None:
    settings = read_settings({"PBXHUB_DATA_DIR": str(tmp_path)})
    assert settings.database_url == f"sqlite:///{tmp_path}/pbxhub.sqlite3"
    assert settings.public_url == "http://127.0.0.1:8080"
    assert settings.allowed_networks == ()


def test_the_first_start_makes_a_key_that_only_the_owner_reads_and_later_starts_keep_it(tmp_path: Path) -> None:
    first = with_key(read_settings({"PBXHUB_DATA_DIR": str(tmp_path)})).secret_key
    assert len(first) == 32
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600
    assert read_settings({"PBXHUB_DATA_DIR": str(tmp_path)}).secret_key == first


def test_a_damaged_key_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("half a k")
    with pytest.raises(SettingsError, match=r"PBXHUB_SECRET_KEY: the key in .*secret\.key is damaged"):
        read_settings({"PBXHUB_DATA_DIR": str(tmp_path)})


def test_an_empty_key_file_stops_the_start_instead_of_sealing_with_a_key_everybody_knows(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("\n")
    with pytest.raises(SettingsError, match=r"PBXHUB_SECRET_KEY: the key in .* is damaged: it is empty"):
        read_settings({"PBXHUB_DATA_DIR": str(tmp_path)})


def test_a_full_disk_at_the_first_start_leaves_no_half_key(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(SettingsError, match="PBXHUB_DATA_DIR: cannot save the secret key"):
            with_key(read_settings({"PBXHUB_DATA_DIR": str(tmp_path)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []
    assert len(with_key(read_settings({"PBXHUB_DATA_DIR": str(tmp_path)})).secret_key) == 32


def test_everybody_who_starts_at_the_same_time_gets_the_same_key(tmp_path: Path) -> None:
    starts = threading.Barrier(8)

    def start(_number: int) -> bytes:
        starts.wait()
        return with_key(read_settings({"PBXHUB_DATA_DIR": str(tmp_path / "data")})).secret_key

    for _ in range(10):
        with ThreadPoolExecutor(8) as threads:
            assert len(set(threads.map(start, range(8)))) == 1
        (tmp_path / "data" / "secret.key").unlink()


def test_a_key_from_the_environment_needs_no_file(tmp_path: Path) -> None:
    key = base64.urlsafe_b64encode(b"k" * 32).decode()
    assert read_settings({"PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_SECRET_KEY": key}).secret_key == b"k" * 32
    assert not (tmp_path / "secret.key").exists()


@pytest.mark.parametrize(
    ("variable", "value", "advice"),
    [
        ("PORT", "80x", "whole number from 1 to 65535"),
        ("DATA_DIR", "~nobody-of-this-name/x", "after ~ does not exist"),
        ("PORT", "0", "whole number from 1 to 65535"),
        ("PORT", "٣", "whole number from 1 to 65535"),
        ("BIND", "everywhere", "IP address to listen on"),
        ("PUBLIC_URL", "pbx.example.com", "https://pbx.example.com"),
        ("PUBLIC_URL", "https://pbx.example.com/?a=1", "https://pbx.example.com"),
        ("PUBLIC_URL", "https://pbx.example.com:abc", "https://pbx.example.com"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "networks like 192.168.10.0/24"),
        ("ALLOWED_NETWORKS", "192.168.1.1/24", "networks like 192.168.10.0/24"),
        ("PROJECTS", "nobody", "operator, everyone"),
        ("WORKERS", "-1", "whole number"),
        ("METRICS", "9108", "such as 127.0.0.1:9108"),
        ("KEEP_CALLS", "0", "whole number from 1"),
        ("MAIL_FROM", "somebody", "one address"),
        ("LOG_LEVEL", "loud", "debug, info, warning, error"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_the_way_out(
    tmp_path: Path, variable: str, value: str, advice: str
) -> None:
    with pytest.raises(SettingsError, match=f"PBXHUB_{variable}=.*{advice}"):
        read_settings({"PBXHUB_DATA_DIR": str(tmp_path), f"PBXHUB_{variable}": value})


@pytest.mark.parametrize(
    ("variable", "value", "advice"),
    [
        ("DATABASE_URL", "mysql://root:hunter2@x", r"postgresql\+psycopg://"),
        ("DATABASE_URL", "postgresql+psycopg://root:hunter2@x:abc/y", r"HOST:PORT/NAME"),
        ("DATABASE_URL", "sqlite:///", "sqlite:///FILE"),
        ("DATABASE_URL", "sqlite:///:memory:", "sqlite:///FILE"),
        ("SECRET_KEY", "hunter2", "32 random bytes"),
        ("SMTP", "mail://hub:hunter2@x", "smtp://USER:PASSWORD@HOST:587"),
    ],
)
def test_a_refused_secret_is_not_repeated(tmp_path: Path, variable: str, value: str, advice: str) -> None:
    with pytest.raises(SettingsError, match=f"PBXHUB_{variable}: .*{advice}") as refusal:
        read_settings({"PBXHUB_DATA_DIR": str(tmp_path), f"PBXHUB_{variable}": value})
    assert "hunter2" not in str(refusal.value)


def test_mails_need_a_sender(tmp_path: Path) -> None:
    environ = {"PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_SMTP": "smtp://hub:p%40ss@mail.example.com"}
    with pytest.raises(SettingsError, match="PBXHUB_MAIL_FROM: give the sender's address"):
        read_settings(environ)
    mail = read_settings({**environ, "PBXHUB_MAIL_FROM": "hub@example.com"}).mail
    assert mail is not None
    assert (mail.host, mail.port, mail.username, mail.password, mail.sender, mail.starttls) == (
        "mail.example.com", 587, "hub", "p@ss", "hub@example.com", True,
    )  # fmt: skip
    assert "p@ss" not in repr(mail)


def test_a_misspelt_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="PBXHUB_WORKER is not a setting"):
        read_settings({"PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_WORKER": "5"})


def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(SettingsError, match=r"PBXHUB_DATA_DIR: cannot save the secret key in /proc/"):
        read_settings({"PBXHUB_DATA_DIR": "/proc/nowhere"})


def test_the_documentation_lists_every_variable(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refusal:
        read_settings({"PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_X": ""})
    known = set(re.findall(r"PBXHUB_[A-Z_]+", str(refusal.value).split("The settings are")[1]))
    assert set(re.findall(r"^\| `(PBXHUB_[A-Z_]+)`", DOCS.read_text(), re.MULTILINE)) == known


@pytest.mark.parametrize("path", ["/a b", "/%41", "/..", "//x", "/pbx;x", "/ф"])
def test_a_path_that_proxies_and_browsers_write_differently_is_refused(path: str) -> None:
    with pytest.raises(SettingsError, match=r"https://example\.com/pbx"):
        read_settings({"PBXHUB_PUBLIC_URL": f"https://example.com{path}"})


def test_a_slash_at_the_end_of_the_public_address_changes_nothing(tmp_path: Path) -> None:
    variables = {"PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_PUBLIC_URL": "https://example.com/pbx/"}
    assert read_settings(variables).public_path == "/pbx"
