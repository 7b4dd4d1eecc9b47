"""The parts of a running hub, each with the time when it was last seen working, by whatever process or host."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from pbxhub.store.columns import UtcDateTime
from pbxhub.store.session import Base, insert_into

BEAT = timedelta(seconds=15)
SILENT = timedelta(seconds=60)  # after which a part counts as lost


class PartSeen(Base):
    """One kind of part: the listener, the worker, FastAGI, or one kind of background job. Every process with that part
    writes its time every 15 s (BEAT) while the part works; several processes share the row, and the newest time
    counts."""

    __tablename__ = "part_seen"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    seen_on: Mapped[datetime] = mapped_column(UtcDateTime)


def beat(session: Session, names: Collection[str], now: datetime) -> None:
    """Notes that these parts work."""
    if names:  # always in the same order, so that two processes cannot lock each other out
        rows = insert_into(session, PartSeen).values([{"name": name, "seen_on": now} for name in sorted(names)])
        session.execute(rows.on_conflict_do_update(index_elements=["name"], set_={"seen_on": now}))


def parts_seen(session: Session) -> dict[str, datetime]:
    """When each part was last seen working."""
    return {row.name: row.seen_on for row in session.scalars(select(PartSeen).order_by(PartSeen.name))}
