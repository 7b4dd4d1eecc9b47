"""A plain AMI session: Asterisk's output is collected in a list; actions are sent as text."""

import socket
import threading
from collections.abc import Callable

from pbxhub.testing.pbx.asterisk import ADMIN_USER, AMI_PORT, PASSWORD
from pbxhub.testing.waiting import await_until


class AmiStream:
    """Logged in when made. heard is called with each block of header lines, in order, from one thread."""

    def __init__(self, address: str, user: str = ADMIN_USER, heard: Callable[[str], None] = lambda block: None) -> None:
        self.blocks: list[str] = []
        self._heard = heard
        self._socket = socket.create_connection((address, AMI_PORT))
        threading.Thread(target=self._read, daemon=True).start()
        self.send("Login", Username=user, Secret=PASSWORD)
        await_until(lambda: any("Event: FullyBooted" in block for block in self.blocks))

    def send(self, action: str, **headers: str) -> None:
        lines = [f"Action: {action}", *(f"{name}: {value}" for name, value in headers.items())]
        self._socket.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())

    def ask(self, action: str, **headers: str) -> str:
        """Sends an action and returns its answer, which must be a success."""
        name = f"kit-{len(self.blocks)}-{action}"
        self.send(action, ActionID=name, **headers)

        def answered() -> str:
            found = [block for block in self.blocks if f"ActionID: {name}" in block and "Response:" in block]
            assert found, f"no answer to {action}"
            return found[0]

        answer = await_until(answered)
        assert "Response: Success" in answer, answer
        return answer

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> None:
        block: list[str] = []
        try:
            with self._socket.makefile("r", encoding="utf-8", errors="replace", newline="\r\n") as stream:
                for line in stream:
                    if line.strip():
                        block.append(line.rstrip("\r\n"))
                    elif block:
                        text = "\n".join(block)
                        block = []
                        self.blocks.append(text)
                        self._heard(text)
        except (OSError, ValueError):  # closed
            return
