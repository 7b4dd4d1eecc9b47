"""A private piece of 127.0.0.0/8 for one test laboratory, so that several run at once without knowing each other."""

import random
import socket


class LoopbackNetwork:
    """A leased 127.X.Y.0/24. No other laboratory on this machine gets it until close() or the end of the process.

    .1 is the PBX, .2-.63 are outside parties (its trunks), .100-.199 are its phones.
    """

    def __init__(self, preferred: str = "") -> None:
        """preferred: the first three numbers of the network to take when it is free."""
        self._lease, self._prefix = _lease(preferred)

    def address(self, host: int) -> str:
        """The address of host 1-254 in this network."""
        return f"{self._prefix}.{host}"

    @property
    def prefix(self) -> str:
        """The first three numbers, "127.X.Y"."""
        return self._prefix

    def close(self) -> None:
        """Gives the network back."""
        self._lease.close()


def _lease(preferred: str) -> tuple[socket.socket, str]:
    """An abstract unix socket named after the network is the lease: the kernel drops it with the process."""
    numbers = list(range(64 * 256, 250 * 256))
    random.shuffle(numbers)
    for prefix in [preferred] * bool(preferred) + [f"127.{number >> 8}.{number & 255}" for number in numbers]:
        lease = socket.socket(socket.AF_UNIX)
        try:
            lease.bind(f"\0pbxhub-test-network-{prefix}")
        except OSError:
            lease.close()
            continue
        return lease, prefix
    raise OSError("every test network of 127.64.0.0 - 127.249.255.0 is in use")
