"""Slows down guessing: after some free attempts each further one has to wait, twice as long each time.

This is a delay, not a lock: the owner of a password gets in, however often strangers try. An attempt is counted in the
database before it is checked, so a hundred at once, by several processes or hosts, count as a hundred. An attempt that
comes too early is neither checked nor counted, so nobody can prolong another user's delay.
"""

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.store.session import insert_into
from pbxhub.store.sign_in_rows import Tries

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Limit:
    """free: tries without a delay. first, longest: the delay after the last of them, and what it doubles up to.
    forgotten: how long after the last try the count begins anew. shared: by several people, so that a success of one
    takes back its own try only."""

    kind: str
    free: int
    first: timedelta
    longest: timedelta
    forgotten: timedelta
    shared: bool = False

    def delay(self, count: int) -> timedelta:
        """What the try after this many has to wait."""
        if count < self.free:
            return timedelta(0)
        return min(self.longest, self.first * (1 << min(count - self.free, 30)))


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a try counts for: the limit, and for whom."""

    limit: Limit
    subject: str

    @property
    def key_hash(self) -> str:
        return hashlib.sha256(f"{self.limit.kind} {self.subject}".encode("utf-8", "surrogatepass")).hexdigest()


# An account's password: from one network (or browser that it has signed in with), and from everywhere else together.
PASSWORD_HERE = Limit("password here", 5, timedelta(minutes=1), timedelta(minutes=15), timedelta(hours=1))
PASSWORD = Limit("password", 20, timedelta(seconds=5), timedelta(minutes=5), timedelta(hours=6))
# The code of a second factor: whoever tries knows the password already. 24 tries a day of a million codes, three valid.
CODE = Limit("code", 5, timedelta(seconds=30), timedelta(hours=1), _DAY)
# A password asked for again from somebody signed in, who may have found an open browser.
AGAIN = Limit("password again", 5, timedelta(seconds=30), timedelta(minutes=15), timedelta(hours=1))
MAIL = Limit("mail", 3, timedelta(minutes=5), timedelta(hours=1), _DAY)
# Invitations that a project mails: to one address, and to all. They do not delay the address's own mails.
INVITED = Limit("invited", 3, timedelta(minutes=5), timedelta(hours=1), _DAY)
INVITING = Limit("inviting", 50, timedelta(minutes=1), timedelta(hours=1), _DAY)
NETWORK = Limit("network", 30, timedelta(seconds=10), timedelta(minutes=5), timedelta(minutes=15), shared=True)


def network_of(address: str) -> str:
    """What counts as one visitor: an IPv4 address, or the /64 of an IPv6 one, which one machine has to itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def begin(session: Session, buckets: Sequence[Bucket], now: datetime) -> timedelta | None:
    """Counts a try, or returns how long it has to wait yet."""
    rows = _locked(session, buckets, now)
    for bucket in buckets:
        row = rows[bucket.key_hash]
        if now - row.seen_on > bucket.limit.forgotten:
            row.count = 0
    wait = max((row.free_on - now for row in rows.values()), default=timedelta(0))
    if wait > timedelta(0):
        return wait
    for bucket in buckets:
        row = rows[bucket.key_hash]
        row.count += 1
        row.seen_on, row.free_on = now, now + bucket.limit.delay(row.count)
    return None


def succeeded(session: Session, buckets: Sequence[Bucket], now: datetime) -> None:
    """The try was right: nothing counts against the account from now on, and one try less against a network."""
    rows = _locked(session, buckets, now)
    for bucket in buckets:
        row = rows[bucket.key_hash]
        row.count = max(0, row.count - 1) if bucket.limit.shared else 0
        row.free_on = now


def _locked(session: Session, buckets: Sequence[Bucket], now: datetime) -> dict[str, Tries]:
    """The rows, made where there are none; locked in one order, so that two tries never wait for each other."""
    keys = sorted({bucket.key_hash for bucket in buckets})
    fresh = [{"key_hash": key, "count": 0, "seen_on": now, "free_on": now} for key in keys]
    if fresh:
        session.execute(insert_into(session, Tries).values(fresh).on_conflict_do_nothing())
    query = select(Tries).where(Tries.key_hash.in_(keys)).order_by(Tries.key_hash).with_for_update()
    return {row.key_hash: row for row in session.scalars(query.execution_options(populate_existing=True))}
