"""The database URL: which forms an operator may write, and which hosts and ports it names."""

import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

POSTGRES = 5432
_FORMS = (
    "give sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME; several hosts are "
    "postgresql+psycopg://USER:PASSWORD@HOST1:PORT,HOST2:PORT/NAME"
)
_PARTS = re.compile(r"(postgresql\+psycopg://(?:[^:/]*(?::[^@]*)?@)?)([^/?]*)(.*)", re.DOTALL)
Place = tuple[str, int]


def read_database_url(text: str) -> str:
    """The URL for SQLAlchemy. Raises ValueError that says what to write instead.

    A PostgreSQL cluster may be written with several hosts, either as in libpq's URLs or in the query
    (`?host=a:1&host=b:2`, `?host=a,b&port=1,2`). The hub then connects to the primary, which accepts writes, unless
    the URL says otherwise.
    """
    try:
        return _read_sqlite(text) if text.startswith("sqlite:") else _read_postgres(text)
    except (ValueError, ArgumentError):
        raise ValueError(_FORMS) from None


def sqlite_url(path: str) -> str:
    """The URL of a file, whatever characters are in its path."""
    return URL.create("sqlite", database=path).render_as_string()


def connect_arguments(url: str | URL) -> dict[str, Any]:
    """The driver's arguments to connect to PostgreSQL."""
    made = make_url(url)
    _nothing, arguments = made.get_dialect()().create_connect_args(made)
    return dict(arguments)


def database_places(url: str) -> tuple[Place, ...]:
    """Every host and port to which a connection may go; none for SQLite and for Unix sockets."""
    if url.startswith("sqlite:"):
        return ()
    given = {**_defaults(), **connect_arguments(url)}
    hosts = [str(host) for name in ("host", "hostaddr") for host in _listed(given.get(name))]
    ports = _listed(given.get("port")) or [str(POSTGRES)]
    named = [len(_listed(given.get(name))) for name in ("host", "hostaddr")]
    numbers = [port for count in named for port in (ports * count if len(ports) == 1 else ports[:count])]
    return tuple(
        (host, int(port or POSTGRES))
        for host, port in zip_longest(hosts, numbers, fillvalue="")
        if host and not host.startswith(("/", "@"))
    )


def _defaults() -> Mapping[str, str]:
    """libpq's values for what the URL omits: PGHOST, PGPORT and the service file of PGSERVICE."""
    from psycopg.pq import Conninfo  # a hub on SQLite does not load it

    options = {option.keyword.decode(): option.val for option in Conninfo.get_defaults()}
    return {name: value.decode() for name in ("host", "hostaddr", "port") if (value := options.get(name))}


def _listed(value: object) -> list[str]:
    return str(value).split(",") if value else []


def _read_sqlite(text: str) -> str:
    url = make_url(text)
    if url.drivername != "sqlite" or url.host or url.query or url.database in (None, "", ":memory:"):
        raise ValueError
    return text


def _read_postgres(text: str) -> str:
    parts = _PARTS.fullmatch(text)
    if not parts:
        raise ValueError
    before, authority, after = parts.groups()
    if "," in authority:
        url, places = make_url(before + (after or "/")), [_place(each) for each in authority.split(",")]
        if "host" in url.query or "port" in url.query:
            raise ValueError
    else:
        url = make_url(text)
        places = _places(url.query, _port(POSTGRES if url.port is None else url.port))
        if url.host and places:  # it would be unclear which of the two counts
            raise ValueError
    if "service" in url.query:  # it would hide the hosts from the address guard
        raise ValueError
    if places:
        url = _with_places(url, places)
    connect_arguments(url)
    return url.render_as_string(hide_password=False)


def _places(query: Mapping[str, Any], usual: int) -> list[Place]:
    """The hosts and ports in the query, in either of its two forms."""
    hosts, ports = query.get("host", ()), query.get("port", ())
    if isinstance(hosts, str):
        hosts = hosts.split(",")
    if not ports:
        return [_place(host, usual) for host in hosts]
    numbers = ports.split(",") if isinstance(ports, str) else list(ports)
    if len(numbers) == 1:
        numbers *= len(hosts)
    return [(host, _port(port)) for host, port in zip(hosts, numbers, strict=True)]


def _place(text: str, usual: int = POSTGRES) -> Place:
    """HOST, HOST:PORT, [IPV6]:PORT or the folder of a socket."""
    if text.startswith(("/", "@")):
        return text, usual
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:\[\]/]+))(?::([0-9]+))?", text)
    if not found:
        raise ValueError
    return found[1] or found[2], _port(found[3] or usual)


def _port(number: str | int) -> int:
    if not 0 < int(number) < 65536:
        raise ValueError
    return int(number)


def _with_places(url: URL, places: list[Place]) -> URL:
    hosts, ports = zip(*places, strict=True)
    query = {**url.query, "host": ",".join(hosts), "port": ",".join(map(str, ports))}
    if len(places) > 1:
        query.setdefault("target_session_attrs", "read-write")
    return url.set(query=query)
