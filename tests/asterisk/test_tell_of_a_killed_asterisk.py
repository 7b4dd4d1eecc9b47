"""A real Asterisk is killed and comes back: mail, webhook, metric, alert and /health/parts tell of it, in real time."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from pbxhub.store.notices import NoticeTarget
from pbxhub.testing import await_until
from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.pbx.asterisk import Asterisk, running_asterisk
from pbxhub.testing.processes import Program, free_port, program
from pbxhub.testing.receivers.receiver import Receiver
from tests.support.post_office import Box, serving_mail

pytestmark = [pytest.mark.asterisk, pytest.mark.slow, pytest.mark.timeout(480)]
TOKEN = "t0ken-of-the-monitor"
RULES = Path(__file__).parents[2] / "docs/monitoring/alerts.yml"
LOST = "200s"  # after two minutes, on a busy machine
BACK = "100s"  # after half a minute


@pytest.fixture
def asterisk() -> Iterator[Asterisk]:
    with running_asterisk(22) as asterisk:
        yield asterisk


@dataclass(frozen=True)
class Watched:
    """A hub in front of one PBX, and everything that tells how the PBX stands."""

    hub: Hub
    metrics: str
    prometheus: str
    mails: Box
    receiver: Receiver

    def health(self) -> tuple[int, dict[str, Any]]:
        """Status of /health/parts, and what it says of the PBX."""
        answer = requests.get(f"{self.hub.url}/health/parts", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
        (pbx,) = answer.json()["pbxs"]
        return answer.status_code, pbx

    def metric(self) -> str:
        lines = requests.get(self.metrics, timeout=10).text.splitlines()
        (line,) = (line for line in lines if line.startswith("pbxhub_pbx_connected{"))
        return line.rpartition(" ")[2]

    def alerts(self) -> dict[str, str]:
        """State of each alert of the shipped rules: pending or firing."""
        try:
            found = requests.get(f"{self.prometheus}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        except requests.ConnectionError as error:
            raise AssertionError("Prometheus does not listen yet") from error
        return {alert["labels"]["alertname"]: alert["state"] for alert in found}

    def notices(self) -> tuple[list[str], list[str]]:
        """Subjects of the mails, and types of the notices by HTTP."""
        return (
            [mail["Subject"] for mail in self.mails.mails],
            [json.loads(request.body)["type"] for request in self.receiver.requests],
        )


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    metrics = free_port()
    with serving_mail() as (mails, server), Receiver() as receiver:
        settings = {
            "PBXHUB_SMTP": f"smtp+plain://127.0.0.1:{server.port}", "PBXHUB_MAIL_FROM": "hub@example.com",
            "PBXHUB_HEALTH_TOKEN": TOKEN, "PBXHUB_METRICS": f"127.0.0.1:{metrics}",
        }  # fmt: skip
        with Hub(tmp_path, settings=settings) as hub:
            hub.start()
            with hub.database.write() as session:
                for address in ("anna@example.com", receiver.url):
                    session.add(NoticeTarget(project_id=hub.project_id, address=address))
            port = free_port()
            prometheus = Program(_prometheus(tmp_path / "prometheus", metrics, port), tmp_path / "prometheus.log")
            yield Watched(hub, f"http://127.0.0.1:{metrics}/metrics", f"http://127.0.0.1:{port}", mails, receiver)
            prometheus.stop()


def _prometheus(folder: Path, metrics: int, port: int) -> list[str]:
    """A Prometheus with the shipped rules that scrapes the hub every second."""
    folder.mkdir()
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f"rule_files: [{RULES}]\n"
        f"scrape_configs: [{{job_name: pbxhub, static_configs: [{{targets: ['127.0.0.1:{metrics}']}}]}}]\n"
    )
    return [
        program("prometheus", "prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip


def test_a_killed_asterisk_is_told_everywhere_and_so_is_its_return(asterisk: Asterisk, watched: Watched) -> None:
    watched.hub.listen_to(asterisk)

    def well() -> None:
        status, pbx = watched.health()
        assert (status, pbx["status"]) == (200, "ok")
        assert watched.metric() == "1.0"
        assert "PbxhubPbxLost" not in watched.alerts()

    await_until(well, "60s")

    asterisk.kill()

    def seen_at_once() -> None:
        status, pbx = watched.health()
        assert (status, pbx["name"], pbx["status"]) == (503, "pbx", "lost")
        assert pbx["lost_since"]
        assert pbx["reason"]
        assert watched.metric() == "0.0"
        assert watched.alerts().get("PbxhubPbxLost") == "pending"

    await_until(seen_at_once, "30s")
    assert watched.notices() == ([], []), "a restart of Asterisk is not worth a notice"

    def told() -> None:
        mails, requests_ = watched.notices()
        assert [mail.startswith("PBX pbx is lost") for mail in mails] == [True]
        assert requests_ == ["pbx.lost"]
        assert watched.alerts().get("PbxhubPbxLost") == "firing"

    await_until(told, LOST)

    asterisk.start()

    def back() -> None:
        mails, requests_ = watched.notices()
        assert [mail.startswith("PBX pbx is back") for mail in mails] == [False, True]
        assert requests_ == ["pbx.lost", "pbx.back"]

    await_until(well, "60s")
    await_until(back, BACK)
