"""PostgreSQL's own programs for whole databases. The password is in their environment, never on the command line."""

import os
import shutil
import subprocess
from collections.abc import Mapping

from pbxhub.database_url import connect_arguments
from pbxhub.maintenance.backup_file import BackupError

# libpq's names of what the driver is given; the rest of its arguments has no variable and is not needed here
_VARIABLES: Mapping[str, str] = {
    "host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD",
    "dbname": "PGDATABASE", "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY", "target_session_attrs": "PGTARGETSESSIONATTRS", "passfile": "PGPASSFILE",
    "options": "PGOPTIONS", "channel_binding": "PGCHANNELBINDING", "gssencmode": "PGGSSENCMODE",
}  # fmt: skip


def run_tool(name: str, url: str, *arguments: str) -> None:
    """Runs pg_dump or pg_restore on the database behind the URL. Raises BackupError with what it said."""
    program = shutil.which(name)
    if program is None:
        raise BackupError(
            f"{name} is missing on this host: install PostgreSQL's client programs (Debian: postgresql-client), of the "
            "server's version or newer."
        )
    given = connect_arguments(url)
    environment = {variable: str(given[name]) for name, variable in _VARIABLES.items() if name in given}
    done = subprocess.run(  # noqa: S603 (a program of PostgreSQL's, with arguments of our own)
        [program, *arguments], env={**os.environ, **environment}, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise BackupError(f"{name} failed: {' '.join(said[:3]) or f'exit status {done.returncode}'}")
