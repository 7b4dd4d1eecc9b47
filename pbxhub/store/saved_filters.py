"""Filters of lists that were saved under a name."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from pbxhub.store.columns import Id, JsonColumn, UtcDateTime
from pbxhub.store.session import Base


class SavedFilter(Base):
    """What a list was narrowed by. user_id: of the one whose it is; None: everybody's in the project."""

    __tablename__ = "saved_filter"
    __table_args__ = (Index("ix_saved_filter_project", "project_id", "page", "name"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    page: Mapped[str] = mapped_column(String(20))  # account/saved_filters.py FIELDS
    name: Mapped[str] = mapped_column(String(80))
    fields: Mapped[dict[str, str]] = mapped_column(JsonColumn)  # as the address of the page has them
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)

    @property
    def shared(self) -> bool:
        """Whether it is everybody's in the project."""
        return self.user_id is None
