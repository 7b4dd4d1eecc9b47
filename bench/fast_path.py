"""What store/bulk.py buys: python bench/fast_path.py [sqlite] [postgresql]

The same calls are published, claimed and recorded with it, and with SQLAlchemy executing the same statements, in turns.
"""

import sys
from collections.abc import Iterable
from typing import Any

from sqlalchemy import bindparam, delete, insert, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from stages import measure

from pbxhub.store import bulk

ROUNDS = 2
FAST = bulk._Many.run, bulk.Query.all


def run(self: Any, session: Session, rows: Iterable[Any]) -> None:
    """Many rows by SQLAlchemy's executemany."""
    prefix = "" if isinstance(self, bulk.Insert) else "given_"
    names = [f"{prefix}{name}" for name in self._names]
    given = [dict(zip(names, self._values_of(row), strict=True)) for row in rows]
    if given:
        session.connection().execute(statement(self, session.get_bind().dialect.name), given)


def statement(self: Any, dialect: str) -> Any:
    table, given = self._table, {name: bindparam(f"given_{name}") for name in self._names}
    if isinstance(self, bulk.Delete):
        return delete(table).where(*(table.c[name] == value for name, value in given.items()))
    if isinstance(self, bulk.Update):
        which = update(table).where(*(table.c[name] == given[name] for name in self._keys))
        return which.values({name: given[name] for name in self._set})
    if isinstance(self, bulk.Upsert):
        new = {"sqlite": sqlite, "postgresql": postgresql}[dialect].insert(table)
        return new.on_conflict_do_update(self._keys, set_={name: new.excluded[name] for name in self._set})
    return insert(table).values({name: text(sql) for name, sql in self._constants.items()})


def read(self: Any, session: Session, **values: Any) -> list[Any]:
    """A query by SQLAlchemy's execute."""
    return list(session.connection().execute(self.statement, values))


def main(kinds: list[str]) -> None:
    for kind in kinds:
        for slow in (False, True) * ROUNDS:
            bulk._Many.run, bulk.Query.all = (run, read) if slow else FAST  # type: ignore[method-assign,assignment]
            print("without" if slow else "with", end=": ", flush=True)
            measure(kind, 1000, 250)
            print("without" if slow else "with", end=": ", flush=True)
            measure(kind, 100, 1)


if __name__ == "__main__":
    main(sys.argv[1:] or ["sqlite", "postgresql"])
