"""The AMI events of each call as they arrived, to show why the hub reported its stages."""

from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from pbxhub.store.session import Base


class CallEvents(Base):
    """Events of a few seconds of one call. Found by linkedid, because the events come before the call is a row.

    Written by the listener only (ami/event_log.py), read by account/call_events.py, pruned by age.
    """

    __tablename__ = "call_events"
    __table_args__ = (Index("ix_call_events_call", "pbx_id", "linkedid"),)
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)  # begins with the time it was written
    pbx_id: Mapped[int] = mapped_column(ForeignKey("pbx.id", ondelete="CASCADE"))
    linkedid: Mapped[str] = mapped_column(String(150))
    recorded: Mapped[bytes] = mapped_column(LargeBinary)  # the text that `pbxhub replay` reads, by zlib
