"""What each step costs: the hub's CPU, the database's, what waits for the disk, and round trips. Times in seconds."""

from dataclasses import dataclass, fields

WEBHOOKS = 4  # deliveries of a call
FEW, MANY = 1, 25  # calls of a group: one, and as many as make a full batch of 100 deliveries


@dataclass(frozen=True, slots=True)
class Spent:
    """One transaction. python: the hub's CPU while it holds Python's lock; native: its CPU in the database's driver,
    without that lock (SQLite itself); server: CPU of PostgreSQL's processes; wait: for the disk; trips: round trips."""

    python: float
    native: float
    server: float
    wait: float
    trips: float


@dataclass(frozen=True, slots=True)
class Cost:
    """few, many: of a group of one call, and of MANY. cold: of one call after a pause of 0.1 s."""

    few: Spent
    many: Spent
    cold: Spent

    def of(self, deliveries: float, idle: float = 0.0) -> Spent:
        """idle: seconds since the machine last did this; after a tenth of a second its caches are cold."""
        warmth = max(0.0, 1.0 - idle / 0.1)
        share = (deliveries - FEW * WEBHOOKS) / ((MANY - FEW) * WEBHOOKS)
        return Spent(
            *(
                max(0.0, warm + (old - warm) * (1 - warmth) + (full - warm) * share)
                for warm, full, old in zip(values(self.few), values(self.many), values(self.cold), strict=True)
            )
        )


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one kind of database. prepare, send, receive: CPU for each request; way: from the sender to the receiver."""

    kind: str
    publish: Cost
    claim: Cost
    record: Cost
    prepare: float
    send: float
    receive: float
    way: float
    switch: float  # until a thread that was waited for runs


def values(spent: Spent) -> list[float]:
    return [getattr(spent, field.name) for field in fields(Spent)]
