"""Keep-alive connections. A connection opened for one webhook is never used for another."""

from dataclasses import dataclass, field

import pycurl

from pbxhub.sending.curl_handle import CurlHandle
from pbxhub.sending.exchange import TlsOptions

_IDLE_SECONDS = 60.0
_MOST_IDLE = 2000  # handles, each with a connection at most


@dataclass(eq=False, slots=True)
class ConnectionPool:
    """The connections of one webhook (a curl share of its own) and the handles that use them."""

    tls: TlsOptions
    share: pycurl.CurlShare
    idle: list[CurlHandle] = field(default_factory=list)
    tls_versions: dict[int, str] = field(default_factory=dict)
    busy: int = 0
    used_at: float = 0.0

    def take(self) -> CurlHandle:
        """A free handle."""
        self.busy += 1
        return self.idle.pop() if self.idle else CurlHandle(self.share, self.tls, self.tls_versions)

    def give_back(self, handle: CurlHandle, now: float) -> None:
        """Returns the handle of a finished request."""
        self.busy -= 1
        self.used_at = now
        self.idle.append(handle)

    def close(self) -> None:
        """Closes the connections. Do not use the pool afterwards."""
        for handle in self.idle:
            handle.close()
        self.share.close()


class ConnectionPools:
    """The pools by pool key and TLS options. A pool that is idle for a minute is closed."""

    def __init__(self) -> None:
        self._pools: dict[tuple[str, TlsOptions], ConnectionPool] = {}
        self._swept_at = 0.0

    def get(self, key: str, tls: TlsOptions) -> ConnectionPool:
        """The pool of this key; creates it when there is none."""
        pool = self._pools.get((key, tls))
        if pool is None:
            share = pycurl.CurlShare()
            share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_CONNECT)
            pool = self._pools[key, tls] = ConnectionPool(tls, share)
        return pool

    def sweep(self, now: float) -> None:
        """Closes pools that have been idle for a minute, and the longest idle ones when there are too many.

        May be called often; acts once a second. now: monotonic.
        """
        if now - self._swept_at < 1:
            return
        self._swept_at = now
        idle = sum(len(pool.idle) for pool in self._pools.values())
        unused = sorted((p for p in self._pools.items() if not p[1].busy), key=lambda item: item[1].used_at)
        for key, pool in unused:
            if now - pool.used_at < _IDLE_SECONDS and idle <= _MOST_IDLE:
                return
            del self._pools[key]
            idle -= len(pool.idle)
            pool.close()

    def close(self) -> None:
        """Closes every pool."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
