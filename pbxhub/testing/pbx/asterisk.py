"""A real Asterisk for tests and for trying by hand: own folder, own loopback network, asterisk-conf/ included.

Files of the configuration are templates in asterisk_lab/; each one includes asterisk-conf/ the way an operator would.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jinja2 import Template

from pbxhub.paths import ASTERISK_CONF
from pbxhub.testing.pbx.asterisk_install import Installation, asterisk
from pbxhub.testing.pbx.loopback import LoopbackNetwork
from pbxhub.testing.processes import Program
from pbxhub.testing.waiting import await_until

_TEMPLATES = Path(__file__).parent / "asterisk_lab"
_CELLS = Path(__file__).parent / "asterisk_cells"
_FOLDERS = ("etc", "run", "spool/monitor", "spool/outgoing", "log", "lib/keys", "cache")
PASSWORD = "secret"  # noqa: S105 - of everything in the laboratory; it is reachable from this machine only
HUB_USER = "pbxhub"
ADMIN_USER = "admin"
INCOMING_CONTEXT = "from-trunk"
AMI_PORT = 5038
BOOT_SECONDS = 60
Dialplan = Literal["lab", "plain", "freepbx", "carrier"]
TrunkDriver = Literal["pjsip", "chan_sip", "iax2"]
_DIAL = {"pjsip": "PJSIP/{1}@{0}", "chan_sip": "SIP/{0}/{1}", "iax2": "IAX2/{0}/{1}"}
_MODULES = {"chan_sip": "chan_sip.so", "iax2": "chan_iax2.so"}
_FREEPBX_DRIVERS = {"pjsip": "pjsip", "chan_sip": "sip", "iax2": "iax2"}  # as contexts of FreePBX have them


@dataclass(frozen=True, slots=True)
class Trunk:
    """An outside line: numbers 1555<number>XXX are dialled over it, to the SIP address of its far end."""

    number: int
    address: str

    def outside_number(self, last: int = 1) -> str:
        """A number whose calls leave over this trunk."""
        return f"1555{self.number}{last:03d}"


@dataclass(frozen=True, slots=True)
class Cells:
    """So many small companies, each on the dialplan of that folder in asterisk_cells/.

    trunk: the driver of the two trunks. peer: the address of the Asterisk at the far end of IAX2 trunks.
    """

    dialplan: Dialplan = "lab"
    count: int = 0
    trunk: TrunkDriver = "pjsip"
    peer: str = ""


class Asterisk:
    """One Asterisk process that can be started, stopped, killed and started again on the same files.

    Without cells: DIDs, extensions and queues of asterisk_lab/extensions.conf.
    outside: the network of the outside world behind the trunks of cells, and to whom it speaks SIP.
    """

    def __init__(
        self,
        installation: Installation,
        folder: Path,
        network: LoopbackNetwork,
        cells: Cells = Cells(),
    ) -> None:
        self.installation = installation
        self.folder = folder
        self.network = network
        self.outside = network, network.address(2 if cells.trunk == "chan_sip" else 1)
        self._program: Program | None = None
        _write_configuration(installation, folder, network.prefix, cells)

    @property
    def address(self) -> str:
        """Where SIP (port 5060) and AMI (port 5038) listen."""
        return self.network.address(1)

    @property
    def host(self) -> str:
        """Where its AMI listens."""
        return self.address

    @property
    def port(self) -> int:
        """The port of its AMI."""
        return AMI_PORT

    @property
    def username(self) -> str:
        """The hub's AMI user of asterisk-conf/."""
        return HUB_USER

    @property
    def secret(self) -> str:
        """That user's secret."""
        return PASSWORD

    @property
    def version(self) -> int:
        """22 or 16."""
        return self.installation.version

    @property
    def recordings(self) -> Path:
        """The folder of recorded calls."""
        return self.folder / "spool" / "monitor"

    @property
    def cel_database(self) -> Path:
        """The SQLite file with the table "cel"."""
        return self.folder / "log" / "master.db"

    @property
    def log(self) -> Path:
        """Asterisk's own full log."""
        return self.folder / "log" / "full"

    @property
    def pid(self) -> int:
        """The process id of the running Asterisk."""
        assert self._program is not None, "this Asterisk is not running"
        return self._program.pid

    def trunk(self, number: int) -> Trunk:
        """Outside line 0-9."""
        return Trunk(number, self.network.address(10 + number))

    def start(self) -> None:
        """Starts it and waits until it is fully booted; raises AssertionError with its last lines otherwise."""
        command = self.installation.command("-f", "-C", str(self.folder / "etc" / "asterisk.conf"))
        self._program = running = Program(command, self.folder / "log" / "console", cwd=self.folder)

        def booted() -> None:
            if not running.running:
                raise RuntimeError(f"Asterisk {self.version} ended while starting:\n{running.last_lines()}")
            assert "fully booted" in self.cli("core waitfullybooted", check=False).lower(), running.last_lines()

        await_until(booted, BOOT_SECONDS)

    def stop_now(self) -> None:
        """core stop now: hangs up all calls, informs AMI clients, and ends."""
        self.cli("core stop now", check=False)
        if self._program is not None:
            self._program.wait(20)

    def kill(self) -> None:
        """kill -9: clients get no notice."""
        if self._program is not None:
            self._program.kill()

    def close(self) -> None:
        """Ends it, whatever state it is in."""
        if self._program is not None:
            self._program.stop(5)

    def cli(self, command: str, check: bool = True) -> str:
        """The output of a console command, "core show channels" for example.

        check: raise RuntimeError when Asterisk does not answer; otherwise its complaint is the output.
        """
        done = subprocess.run(
            self.installation.command("-C", str(self.folder / "etc" / "asterisk.conf"), "-rx", command),
            capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=self.folder, timeout=60,
        )  # fmt: skip
        if check and done.returncode:
            raise RuntimeError(f"Asterisk does not take {command!r}: {done.stdout}{done.stderr}\n{self.last_lines()}")
        return done.stdout + ("" if check else done.stderr)

    def channels(self) -> int:
        """How many channels exist now."""
        return int(self.cli("core show channels count").split(" active channel")[0].split()[-1])

    def wait_idle(self, seconds: float = 60) -> None:
        """Waits until every channel is gone."""

        def idle() -> None:
            assert self.channels() == 0, self.cli("core show channels")

        await_until(idle, seconds)

    def last_lines(self, count: int = 60) -> str:
        """The end of Asterisk's log, for the message of a failure."""
        if not self.log.exists():
            return self._program.last_lines(count) if self._program else ""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join([line for line in lines if "Remote UNIX connection" not in line][-count:])


@contextmanager
def running_asterisk(
    version: int = 22,
    preferred_network: str = "",
    dialplan: Dialplan = "lab",
    cells: int = 0,
    trunk: TrunkDriver = "pjsip",
) -> Iterator[Asterisk]:
    """A started Asterisk of that major version, ended with the block. Raises AsteriskMissingError.

    preferred_network: see LoopbackNetwork. dialplan, cells, trunk: see Cells; IAX2 trunks lead to a second Asterisk.
    """
    installation = asterisk(version)
    with ExitStack() as stack:
        network = stack.enter_context(closing(LoopbackNetwork(preferred_network)))
        if trunk != "iax2":
            yield _start(stack, installation, network, Cells(dialplan, cells, trunk))
            return
        beyond = stack.enter_context(closing(LoopbackNetwork()))
        carrier = _start(stack, installation, beyond, Cells("carrier", 0, trunk, network.address(1)))
        pbx = _start(stack, installation, network, Cells(dialplan, cells, trunk, beyond.address(1)))
        pbx.outside = carrier.outside
        yield pbx


def _start(stack: ExitStack, installation: Installation, network: LoopbackNetwork, cells: Cells) -> Asterisk:
    folder = stack.enter_context(
        tempfile.TemporaryDirectory(prefix=f"asterisk-{installation.version}-", ignore_cleanup_errors=True)
    )
    instance = stack.enter_context(closing(Asterisk(installation, Path(folder), network, cells)))
    instance.start()
    return instance


def _templates(cells: Cells) -> dict[str, str]:
    """Name -> text of every file; those of cells stand in for the laboratory's."""
    texts = {path.name: path.read_text() for path in sorted(_TEMPLATES.glob("*.conf"))}
    if cells.dialplan == "lab":
        return texts
    second = f"from-trunk-{_FREEPBX_DRIVERS[cells.trunk]}-pstn-second"
    contexts = {"freepbx": ("from-pstn", second), "carrier": ("to-main", "to-second")}
    main_context, second_context = contexts.get(cells.dialplan, ("from-trunk", "from-trunk"))
    texts["modules.conf"] = texts["modules.conf"].replace(f"noload => {_MODULES.get(cells.trunk)}\n", "")
    for path in (*_CELLS.glob("*.conf"), *(_CELLS / cells.dialplan).glob("*.conf")):
        texts[path.name] = Template(path.read_text(), trim_blocks=True, comment_start_string="{#-").render(
            cells=[f"{cell:02d}" for cell in range(cells.count)],
            trunk=cells.trunk,
            trunks=[("pstn-main", 10, main_context), ("pstn-second", 11, second_context)],
            dial=_DIAL[cells.trunk].format,
            freepbx=cells.dialplan == "freepbx",
        )
    return texts


def _write_configuration(installation: Installation, folder: Path, prefix: str, cells: Cells) -> None:
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    places = {
        "FOLDER": str(folder),
        "MODULES": str(installation.modules),
        "DATA": str(installation.data),
        "NET": prefix,
        "PEER": cells.peer,
        "PASSWORD": PASSWORD,
        "MANAGER": "manager-16.conf" if installation.version < 22 else "manager.conf",
    }
    for file, text in _templates(cells).items():
        for name, value in places.items():
            text = text.replace(f"@{name}@", value)
        (folder / "etc" / file).write_text(text)
    included = folder / "etc" / "pbxhub"
    if not included.exists():
        included.symlink_to(ASTERISK_CONF, target_is_directory=True)
