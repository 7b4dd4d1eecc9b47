"""The receiver: keeps which request came when, and takes its time to answer."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hosts.judge import Arrival

ANSWER_AFTER = 0.5
"""Seconds: at any fault some requests are in flight, which have arrived and are not recorded."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        """Hosts that lose their power leave connections behind: nothing to report."""


class Inbox:
    def __init__(self, host: str) -> None:
        self.arrivals: list[Arrival] = []
        self.answer_after = ANSWER_AFTER
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                inbox.arrivals.append(Arrival(self.headers["moment"], self.headers["webhook-id"], time.time()))
                time.sleep(inbox.answer_after)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = _Server((host, 0), Handler)
        self.url = f"http://{host}:{self._server.server_address[1]}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
