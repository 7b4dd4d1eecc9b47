"""A real AMI server on loopback that plays recorded calls: the PBX of the demo, and of tests.

    player = PbxPlayer()
    await player.start()                                  # player.port
    recording = read_recording(shipped()[0])
    await player.play(freshen(recording, now))            # at natural speed
    await player.play(freshen(recording, now), speed=0)   # as fast as possible
    await player.send("Event: Newchannel\n…")             # step by step
    await player.stop()

It logs in with a plain secret or the MD5 challenge, keeps read classes, write classes and event filters per session
as Asterisk does, and answers Status and CoreShowChannels from the events it has played. `faults` makes it misbehave.
"""

import asyncio
import hashlib
import re
import ssl
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from pbxhub.testing.pbx.recordings import Recording, name_of

READ = ("system", "call", "agent", "user", "cdr")
WRITE = ("system", "call", "reporting", "originate")
_NEEDS = {
    "Filter": {"system"},
    "Status": {"system", "call", "reporting"},
    "CoreShowChannels": {"system", "reporting"},
    "CoreSettings": {"system", "reporting"},
    "CoreStatus": {"system", "reporting"},
    "Originate": {"originate"},
    "Hangup": {"system", "call"},
    "QueuePause": {"agent"},
}
_CHANNEL_HEADERS = (
    "Channel", "ChannelState", "ChannelStateDesc", "CallerIDNum", "CallerIDName", "ConnectedLineNum",
    "ConnectedLineName", "Language", "AccountCode", "Context", "Exten", "Priority", "Uniqueid", "Linkedid",
)  # fmt: skip


@dataclass(slots=True)
class Faults:
    """What the player does wrong; change it at any time.

    banner: sent in place of the greeting, b"" sends none. silent: reads, never answers. hide_events: filters let
    nothing through. segment: bytes per write, so that letters and lines are torn apart; 0 sends whole blocks.
    boot_quietly: no FullyBooted after the login. one_login: refuses a login while somebody is logged in, after a
    second, as Asterisk does with allowmultiplelogin = no. clock_ahead: seconds by which its clock is ahead.
    """

    banner: bytes | None = None
    silent: bool = False
    hide_events: bool = False
    segment: int = 0
    boot_quietly: bool = False
    one_login: bool = False
    clock_ahead: float = 0.0


@dataclass(slots=True, eq=False)
class _Session:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    challenge: str = ""
    entered: bool = False
    classes: frozenset[str] = frozenset()
    names: set[str] = field(default_factory=set)
    patterns: list[re.Pattern[str]] = field(default_factory=list)

    def wants(self, block: str, privilege: str) -> bool:
        if not self.entered or (privilege and privilege not in self.classes):
            return False
        text = block.replace("\n", "\r\n") + "\r\n\r\n"
        filtered = bool(self.names or self.patterns)
        return not filtered or name_of(block) in self.names or any(each.search(text) for each in self.patterns)


class PbxPlayer:
    """The server. actions: every action it was sent, as a mapping of its headers, in order."""

    def __init__(
        self,
        username: str = "hub",
        secret: str = "hubsecret",  # noqa: S107 (of a server on loopback that lives for a test or a demo)
        version: str = "22.10.1",
        read: Collection[str] = READ,
        write: Collection[str] = WRITE,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.username, self.secret, self.version, self.tls = username, secret, version, tls
        self.read, self.write = frozenset(read), frozenset(write)
        self.faults = Faults()
        self.actions: list[dict[str, str]] = []
        self.port = 0
        self._host = "127.0.0.1"
        self._server: asyncio.Server | None = None
        self._sessions: set[_Session] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._channels: dict[str, dict[str, str]] = {}
        self._booted = time.monotonic()

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> None:
        """Begins to listen on loopback; port 0 takes a free one. After stop() or kill() it is a PBX just started."""
        self._booted = time.monotonic()
        self._host = host
        self._server = await asyncio.start_server(self._accept, host, port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Tells every session Shutdown, as `core stop now` does, and is gone."""
        if self._server is not None:
            await self.send("Event: Shutdown\nPrivilege: system,all\nShutdown: Cleanly\nRestart: False")
        await self.kill()

    async def kill(self) -> None:
        """Gone without a word; the calls with it. start(port) brings it back."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self.drop()
            await asyncio.gather(*self._serving)
        self._channels.clear()

    def drop(self) -> None:
        """Cuts every connection; calls live on and new connections are taken."""
        for session in tuple(self._sessions):
            session.writer.transport.abort()
        self._sessions.clear()

    @property
    def listeners(self) -> int:
        """Sessions logged in now."""
        return sum(session.entered for session in self._sessions)

    async def play(self, recording: Recording, speed: float = 1.0) -> None:
        """Plays a recording to every session: speed 2 takes half the time, 0 takes none."""
        began = asyncio.get_running_loop().time()
        for played in recording.events:
            if speed:
                await asyncio.sleep(max(0.0, began + played.after / speed - asyncio.get_running_loop().time()))
            await self.send(played.block)

    async def play_all(self, recordings: Sequence[Recording], speed: float = 1.0) -> None:
        """Plays several at the same time."""
        await asyncio.gather(*(self.play(recording, speed) for recording in recordings))

    async def send(self, block: str) -> None:
        """Sends one event (header lines joined by LF) to every session that may and wants to hear it."""
        self._note(block)
        privilege = re.search(r"^Privilege: (\w+)", block, re.MULTILINE)
        if self.faults.hide_events:
            return
        for session in tuple(self._sessions):
            if session.wants(block, privilege[1] if privilege else ""):
                await self._write(session, (block.replace("\n", "\r\n") + "\r\n\r\n").encode())

    async def send_bytes(self, data: bytes) -> None:
        """Sends raw bytes to every session, wanted or not."""
        for session in tuple(self._sessions):
            await self._write(session, data)

    async def _write(self, session: _Session, data: bytes) -> None:
        size = self.faults.segment or max(1, len(data))
        try:
            for start in range(0, len(data), size):
                session.writer.write(data[start : start + size])
                await session.writer.drain()
                if self.faults.segment:
                    await asyncio.sleep(0)
        except OSError:
            self._sessions.discard(session)

    # --- what the PBX knows of its channels

    def _note(self, block: str) -> None:
        headers = _headers(block)
        uniqueid, name = headers.get("Uniqueid", ""), headers.get("Event", "")
        if name == "Hangup":
            self._channels.pop(uniqueid, None)
        elif name == "Newchannel" or uniqueid in self._channels:
            channel = self._channels.setdefault(uniqueid, {"_born": str(time.monotonic())})
            channel.update({key: headers[key] for key in _CHANNEL_HEADERS if key in headers})
            if name == "BridgeEnter":
                channel["_bridge"] = headers.get("BridgeUniqueid", "")
            elif name == "BridgeLeave":
                channel.pop("_bridge", None)

    def _rows(self, action: dict[str, str]) -> list[str]:
        status = action["Action"] == "Status"
        rows = []
        for channel in self._channels.values():
            lines = ["Event: Status" if status else "Event: CoreShowChannel"]
            lines += [f"{key}: {channel[key]}" for key in _CHANNEL_HEADERS if key in channel]
            lines.append(f"{'BridgeID' if status else 'BridgeId'}: {channel.get('_bridge', '')}")
            lines.append(f"Seconds: {int(time.monotonic() - float(channel['_born']))}")
            rows.append("\n".join(lines))
        return rows

    # --- one connection

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = _Session(reader, writer)
        self._sessions.add(session)
        try:
            banner = self.faults.banner
            await self._write(session, b"Asterisk Call Manager/11.0.0\r\n" if banner is None else banner)
            while True:
                action = _headers((await reader.readuntil(b"\r\n\r\n")).decode("utf-8", "replace"))
                self.actions.append(action)
                if not self.faults.silent and not await self._act(session, action):
                    return
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        finally:
            self._sessions.discard(session)
            writer.transport.abort()

    async def _act(self, session: _Session, action: dict[str, str]) -> bool:
        """Does an action; False ends the session."""
        name = action.get("Action", "")
        if name == "Challenge":
            session.challenge = str(time.monotonic_ns())
            await self._reply(session, action, f"Response: Success\nChallenge: {session.challenge}")
        elif name == "Login":
            return await self._log_in(session, action)
        elif not session.entered or (name in _NEEDS and not self.write & _NEEDS[name]):
            await self._reply(session, action, "Response: Error\nMessage: Permission denied")
        else:
            await self._obey(session, action)
        return name != "Logoff"

    async def _log_in(self, session: _Session, action: dict[str, str]) -> bool:
        key = hashlib.md5((session.challenge + self.secret).encode()).hexdigest()  # noqa: S324 (AMI knows no other)
        right = action.get("Key") == key if "Key" in action else action.get("Secret") == self.secret
        if not right or action.get("Username") != self.username:
            await self._reply(session, action, "Response: Error\nMessage: Authentication failed")
            return False
        if self.faults.one_login and any(other.entered for other in self._sessions):
            await asyncio.sleep(1.0)
            await self._reply(session, action, "Response: Error\nMessage: Login Already In Use")
            return False
        asked = action.get("Events", "on")
        session.classes = self.read if asked == "on" else self.read & set(asked.split(","))
        session.entered = True
        await self._reply(session, action, "Response: Success\nMessage: Authentication accepted")
        if "system" in session.classes and not self.faults.boot_quietly:
            uptime = int(time.monotonic() - self._booted)
            block = f"Event: FullyBooted\nPrivilege: system,all\nUptime: {uptime}\nStatus: Fully Booted"
            await self._write(session, (block.replace("\n", "\r\n") + "\r\n\r\n").encode())
        return True

    async def _obey(self, session: _Session, action: dict[str, str]) -> None:
        name = action["Action"]
        if name == "Ping":
            now = time.time() + self.faults.clock_ahead
            await self._reply(session, action, f"Response: Success\nPing: Pong\nTimestamp: {now:.6f}")
        elif name == "CoreSettings":
            await self._reply(
                session, action, f"Response: Success\nAMIversion: 11.0.0\nAsteriskVersion: {self.version}"
            )
        elif name == "CoreStatus":
            await self._reply(
                session, action, f"Response: Success\nCoreStartupDate: today\nCoreStartupTime: {self._booted}"
            )
        elif name == "Filter":
            await self._filter(session, action)
        elif name in ("Status", "CoreShowChannels"):
            rows = self._rows(action)
            await self._reply(session, action, "Response: Success\nEventList: start\nMessage: Channels will follow")
            for row in rows:
                await self._reply(session, action, row)
            complete = "StatusComplete" if name == "Status" else "CoreShowChannelsComplete"
            await self._reply(session, action, f"Event: {complete}\nEventList: Complete\nListItems: {len(rows)}")
        elif name == "Originate":
            await self._reply(session, action, "Response: Success\nMessage: Originate successfully queued")
            await self._reply(
                session, action, "Event: OriginateResponse\nPrivilege: call,all\nResponse: Success\nReason: 4"
            )
        elif name in ("Hangup", "QueuePause", "Logoff"):
            await self._reply(session, action, "Response: Success\nMessage: Done")
        else:
            await self._reply(session, action, "Response: Error\nMessage: Invalid/unknown command")

    async def _filter(self, session: _Session, action: dict[str, str]) -> None:
        named = re.search(r"name\((\w+)\)", action.get("MatchCriteria", ""))
        if named and int(self.version.partition(".")[0]) >= 22:
            session.names.add(named[1])
        elif action.get("Filter"):
            session.patterns.append(re.compile(action["Filter"]))
        else:
            await self._reply(session, action, "Response: Error\nMessage: Filter not specified")
            return
        await self._reply(session, action, "Response: Success\nMessage: Filter added successfully")

    async def _reply(self, session: _Session, action: dict[str, str], block: str) -> None:
        first, _, rest = block.partition("\n")
        lines = [first, f"ActionID: {action['ActionID']}"] if "ActionID" in action else [first]
        lines += [rest] if rest else []
        await self._write(
            session, ("\r\n".join(lines).replace("\r\n", "\n").replace("\n", "\r\n") + "\r\n\r\n").encode()
        )


def _headers(block: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in block.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name, value.strip())
    return headers
