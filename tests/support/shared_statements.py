"""What SQLAlchemy has made of a statement is kept for later tests.

Each test has a database and an engine of its own, which knows no statement: to write the SQL of all of them anew took a
third of the time of a test.
"""

from sqlalchemy import Dialect
from sqlalchemy.util import LRUCache

from pbxhub.store.session import Database

_KNOWN: dict[str, tuple[Dialect, "LRUCache[object, object]"]] = {}


def share_statements(database: Database) -> None:
    """It knows the statements of earlier databases of its kind, as that of a hub does that runs long."""
    engine = database.engine
    if engine.name not in _KNOWN:
        engine.connect().close()  # the dialect asks the first connection what the server can do
        _KNOWN[engine.name] = engine.dialect, LRUCache(2000)
    for reading_or_writing in (engine, database._writes.kw["bind"]):
        reading_or_writing.dialect, reading_or_writing._compiled_cache = _KNOWN[engine.name]
