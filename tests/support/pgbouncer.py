"""A real PgBouncer before the PostgreSQL of the tests."""

import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from pbxhub.testing.processes import Program, free_port, program
from tests.support.waiting import wait_until

_CONFIG = """
[databases]
* = host=127.0.0.1 port={server} user=pbxhub
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 4
max_client_conn = 500
"""


@contextmanager
def pgbouncer(url: str, mode: str) -> Iterator[str]:
    """The URL of the same database through PgBouncer in that pool mode; four connections to the server serve all."""
    here = make_url(url)
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="pbxhub-bouncer-"))
    folder.chmod(0o755)
    (folder / "pgbouncer.ini").write_text(_CONFIG.format(server=here.port, port=port, mode=mode))
    command = [program("pgbouncer", "pgbouncer"), str(folder / "pgbouncer.ini")]
    if os.geteuid() == 0:  # it refuses to run as root
        user = pwd.getpwnam("postgres").pw_name
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *command]
    bouncer = Program(command, folder / "log")
    try:
        wait_until(lambda: _listens(port) or not bouncer.running, "PgBouncer is there")
        assert bouncer.running, bouncer.last_lines()
        yield here.set(port=port).render_as_string(hide_password=False)
    finally:
        bouncer.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
