"""Runs requests: checks each, looks its name up, sends it, and follows a redirect where that is allowed."""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from urllib.parse import urljoin

import structlog

from pbxhub.redaction import redact_url
from pbxhub.sending.address_guard import AddressGuard, NetworkGrant
from pbxhub.sending.connection_pools import ConnectionPool, ConnectionPools
from pbxhub.sending.curl_failures import blocked
from pbxhub.sending.curl_handle import CurlHandle, unsendable
from pbxhub.sending.curl_loop import CurlLoop
from pbxhub.sending.exchange import Answer, Outgoing
from pbxhub.sending.outcomes import describe
from pbxhub.sending.resolver import ResolvedName, Resolver
from pbxhub.sending.target_url import Target, UnusableTarget, read_target
from pbxhub.webhooks.request import Request

_AFTER_A_FAULT = 0.1  # seconds

log = structlog.get_logger(__name__)

Done = Callable[[Answer], None]


class _Transfer:
    """One Outgoing and its callback. looking: waits for the DNS."""

    __slots__ = ("dns_us", "done", "ends", "looking", "outgoing", "target")

    def __init__(self, outgoing: Outgoing, done: Done) -> None:
        self.outgoing = outgoing
        self.done = done
        self.ends = 0.0
        self.dns_us = 0
        self.looking = False
        self.target: Target | None = None


class RequestsInFlight:
    """Accepts requests from any thread and sends them on its own, where it calls done(answer) exactly once."""

    def __init__(self, guard: AddressGuard, resolver: Resolver, capacity: int) -> None:
        self.guard = guard
        self._resolver = resolver
        self._capacity = capacity
        self._loop = CurlLoop(capacity)
        self._pools = ConnectionPools()
        self._inbox: deque[_Transfer] = deque()
        self._resolved: deque[tuple[_Transfer, ResolvedName]] = deque()
        self._looking: list[tuple[float, int, _Transfer]] = []
        self._looking_up = 0
        self._numbers = count()
        self._verdicts: dict[tuple[str, NetworkGrant], tuple[ResolvedName | None, UnusableTarget | None]] = {}
        self._guards: dict[NetworkGrant, AddressGuard] = {}  # the guard for each grant
        self._verdicts_by = guard
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def begin(self, outgoing: Outgoing, done: Done) -> None:
        """Returns at once. done must not block and must not raise."""
        self._inbox.append(_Transfer(outgoing, done))
        self._loop.wake()

    def close(self) -> None:
        """Aborts everything. done is not called for requests in flight."""
        self._stopping = True
        self._loop.wake()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except Exception:
                log.exception("unexpected error in the sending loop; continuing")
                time.sleep(_AFTER_A_FAULT)
        for handle in self._loop.close():
            handle.close()
        self._pools.close()

    def _turn(self) -> None:
        self._take_in()
        self._expire_lookups()
        until = self._looking[0][0] if self._looking else time.monotonic() + 1.0
        self._loop.turn(until, self._is_work)
        self._pools.sweep(time.monotonic())

    def _is_work(self) -> bool:
        return self._stopping or bool(self._resolved) or (bool(self._inbox) and self._has_room())

    def _has_room(self) -> bool:
        return len(self._loop) + self._looking_up < self._capacity

    def _take_in(self) -> None:
        while self._resolved:
            transfer, found = self._resolved.popleft()
            if transfer.looking:
                self._end_lookup(transfer)
                transfer.dns_us += found.us
                self._begin(partial(self._connect, transfer, found), transfer)
        while self._inbox and self._has_room():
            transfer = self._inbox.popleft()
            transfer.ends = time.monotonic() + transfer.outgoing.deadline
            self._begin(partial(self._check, transfer), transfer)

    def _begin(self, step: Callable[[], None], transfer: _Transfer) -> None:
        """Runs a step. A bug that affects one request must not stop the thread that sends all others."""
        try:
            step()
        except Exception:
            log.exception(
                "request could not be sent: unexpected error",
                url=redact_url(transfer.outgoing.request.url),
                pool=transfer.outgoing.pool,
            )
            transfer.done(Answer("render_error", f"{describe('render_error').sentence} The hub's log has the details."))

    def _check(self, transfer: _Transfer) -> None:
        """Ends the transfer if it may not be sent; otherwise connects, or looks its name up first."""
        if reason := unsendable(transfer.outgoing.request):
            transfer.done(Answer("render_error", f"{describe('render_error').sentence} {reason}"))
            return
        target = read_target(transfer.outgoing.request.url)
        if isinstance(target, UnusableTarget):
            transfer.done(blocked(target.sentence))
            return
        transfer.target = target
        found = None if target.address else self._resolver.cached(target.host)
        if target.address or found:
            self._connect(transfer, found)
        elif self._verdict(transfer, target, None):
            transfer.done(blocked())
        else:
            self._look_up(transfer, target)

    def _look_up(self, transfer: _Transfer, target: Target) -> None:
        transfer.looking = True
        self._looking_up += 1
        heapq.heappush(self._looking, (transfer.ends, next(self._numbers), transfer))
        self._resolver.ask(target.host, lambda found: self._on_resolved(transfer, found))

    def _end_lookup(self, transfer: _Transfer) -> None:
        transfer.looking = False
        self._looking_up -= 1

    def _on_resolved(self, transfer: _Transfer, found: ResolvedName) -> None:
        self._resolved.append((transfer, found))
        self._loop.wake()

    def _expire_lookups(self) -> None:
        now = time.monotonic()
        while self._looking and (self._looking[0][0] <= now or not self._looking[0][2].looking):
            transfer = heapq.heappop(self._looking)[2]
            if transfer.looking:
                self._end_lookup(transfer)
                us = round(transfer.outgoing.deadline * 1e6)
                message = f"{describe('deadline').sentence} The DNS did not answer."
                transfer.done(Answer("deadline", message, dns_us=us, total_us=us))

    def _connect(self, transfer: _Transfer, found: ResolvedName | None) -> None:
        target = transfer.target
        assert target
        if found and not found.addresses:
            sentence = describe("dns_not_found").sentence
            transfer.done(Answer("dns_not_found", sentence, dns_us=transfer.dns_us, total_us=transfer.dns_us))
            return
        if self._verdict(transfer, target, found):
            transfer.done(blocked())
            return
        outgoing = transfer.outgoing
        pool = self._pools.get(outgoing.pool, outgoing.tls)
        handle = pool.take()
        allowed = partial(self._is_allowed, outgoing.networks)
        handle.load(outgoing, target, found, transfer.ends - time.monotonic(), transfer.dns_us, allowed)
        self._loop.add(handle, lambda answer: self._finish(transfer, pool, handle, answer))

    def _finish(self, transfer: _Transfer, pool: ConnectionPool, handle: CurlHandle, answer: Answer) -> None:
        pool.give_back(handle, time.monotonic())
        if transfer.outgoing.follow_to_get and answer.status_code in (301, 302, 303):
            self._follow(transfer, answer)
        else:
            transfer.done(answer)

    def _follow(self, transfer: _Transfer, answer: Answer) -> None:
        """Follows the one redirect: a GET without headers, body and credentials, checked like every request."""
        location = next((value for name, value in answer.headers if name.lower() == "location"), "")
        left = transfer.ends - time.monotonic()
        if not location or left <= 0:
            transfer.done(answer)
            return
        outgoing = transfer.outgoing
        try:
            url = urljoin(outgoing.request.url, location)
        except ValueError:
            transfer.done(answer)
            return
        again = Outgoing(Request("GET", url, (), b""), outgoing.pool, left, networks=outgoing.networks)
        next_transfer = _Transfer(again, transfer.done)
        next_transfer.ends = transfer.ends
        self._begin(partial(self._check, next_transfer), next_transfer)

    def _verdict(self, transfer: _Transfer, target: Target, found: ResolvedName | None) -> UnusableTarget | None:
        """The guard's decision on a target, cached until its addresses or the guard change."""
        guard = self._guard_for(transfer.outgoing.networks)
        place = target.origin, transfer.outgoing.networks
        remembered = self._verdicts.get(place)
        if remembered and remembered[0] is found:
            return remembered[1]
        refusal = guard.check_target(target)
        if found and not refusal:
            refusal = guard.check_addresses(found.addresses, target.port)
        self._verdicts[place] = (found, refusal)
        return refusal

    def _guard_for(self, grant: NetworkGrant) -> AddressGuard:
        """The guard for requests with this grant. Decisions of an earlier guard are discarded."""
        if self._verdicts_by is not self.guard or len(self._verdicts) > 10_000:
            self._verdicts.clear()
            self._guards.clear()
            self._verdicts_by = self.guard
        found = self._guards.get(grant)
        if found is None:
            found = self._guards[grant] = self._verdicts_by.granting(grant)
        return found

    def _is_allowed(self, grant: NetworkGrant, ip: str, port: int) -> bool:
        return self._guard_for(grant).check_address(ip, port) is None
