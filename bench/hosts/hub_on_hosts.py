"""The hub's processes on some of the hosts, and what its database knows of them."""

import sys
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hosts.network import OUTSIDE, Host
from rig.pbxs import Address
from rig.scripts import STAGES
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.store.accounts import Pbx
from pbxhub.store.listeners import PbxLease
from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.waiting import await_until

_NOTING = Path(__file__).with_name("noting_hub.py")


class HubOnHosts:
    """commands: what runs on each host. bug: see noting_hub.py."""

    def __init__(
        self,
        folder: Path,
        urls: Mapping[str, str],
        commands: Mapping[Host, Sequence[str]],
        receiver: str,
        bug: str = "",
    ) -> None:
        """urls: where the host of that name finds the database; "": whoever is outside."""
        self.commands = commands
        self._notes, self._urls, self._bug = folder / "acknowledged", urls, bug
        self._settings = {
            "PBXHUB_SECRET_KEY": urlsafe_b64encode(b"k" * 32).decode(), "PBXHUB_ALLOWED_NETWORKS": f"{OUTSIDE}/32",
            "PBXHUB_AGI": "", "PBXHUB_BIND": "0.0.0.0", "PBXHUB_PORT": "8080",
        }  # fmt: skip
        self._kit = Hub(folder, urls[""], self._settings, commands=())
        for stage in STAGES.values():
            self._kit.webhook(
                f"incoming.{stage}", receiver,
                request={"headers": [{"name": "moment", "value": "<<call_id>> <<event>>"}]},
            )  # fmt: skip

    def stop(self, host: Host, command: str) -> None:
        """In order, as systemd does."""
        for name in [name for name in host.programs if name.startswith(f"{command}-")]:
            host.stop(name)

    def start_on(self, host: Host, only: str = "") -> None:
        for number, command in enumerate(self.commands.get(host, ())):
            if only not in ("", command):
                continue
            home = host.folder / f"{command}-{number}"
            home.mkdir(exist_ok=True)
            variables = {**self._settings, "PBXHUB_DATA_DIR": str(home), "PBXHUB_DATABASE_URL": self._urls[host.name]}
            host.run(home.name, sys.executable, str(_NOTING), str(self._notes), self._bug, command, environ=variables)

    def listen_to(self, addresses: Sequence[Address]) -> None:
        """Returns when all are connected."""
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda address: self._kit.listen_to(address, "240s"), addresses))

    def acknowledged(self) -> list[str]:
        return self._notes.read_text().splitlines() if self._notes.exists() else []

    def shares(self) -> dict[str, int]:
        """How many PBXs each host has and is connected to, not counting what a host before it had been.
        Empty: the database is away."""
        itself = (Pbx.state == "connected", Pbx.state_since > PbxLease.since)
        query = select(Pbx.listener_host).join(PbxLease, PbxLease.pbx_id == Pbx.id).where(*itself)
        try:
            with self._kit.database.read() as session:
                return dict(Counter(host or "" for host in session.scalars(query)))
        except SQLAlchemyError:
            return {}

    def await_fair_shares(self, hosts: int, pbxs: int) -> None:
        def fair() -> None:
            found = self.shares()
            assert len(found) == hosts, found
            assert sum(found.values()) == pbxs, found
            assert max(found.values()) - min(found.values()) <= 1, found

        await_until(fair, "240s")
