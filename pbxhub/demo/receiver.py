"""The demo's receiver. Its start page shows the requests that arrived."""

import json
from collections import deque
from collections.abc import Callable, Iterable
from html import escape
from urllib.parse import unquote_plus, urlsplit

from pbxhub.testing.receivers.receiver import Received, Receiver, Reply


class DemoReceiver:
    """A receiver whose start page shows the requests. /broken/… answers 500, to fill the page Webhook error check."""

    def __init__(self, on_received: Callable[[Received], None], port: int = 0) -> None:
        self._arrived: deque[Received] = deque(maxlen=50)
        self._on_received = on_received
        self.receiver = Receiver(self._answer, port=port, keep=1)

    def _answer(self, received: Received) -> Reply:
        path = urlsplit(received.path).path
        if path in ("/", "/favicon.ico"):
            return Reply(200, _page(self._arrived).encode(), (("Content-Type", "text/html; charset=utf-8"),))
        self._arrived.appendleft(received)
        self._on_received(received)
        if path.startswith("/broken/"):
            return Reply(500, b"The CRM is being updated, come back later")
        return Reply(200, b'{"ok": true}', (("Content-Type", "application/json"),))


def describe(received: Received) -> str:
    """One line about a request: method, path without its query, and content."""
    parts = urlsplit(received.path)
    content = received.body.decode("utf-8", "replace") or unquote_plus(parts.query)
    return f"{received.method} {parts.path}  {content[:150]}{'…' if len(content) > 150 else ''}"


def _page(arrived: Iterable[Received]) -> str:
    rows = "".join(
        f"<article><h2>{escape(request.method)} {escape(unquote_plus(request.path))}</h2>"
        f"<time>{request.received_on:%H:%M:%S} UTC</time><pre>{escape(_content(request))}</pre></article>"
        for request in arrived
    )
    return _PAGE.replace("@ROWS@", rows or "<p>Nothing has arrived yet. The first call starts in a few seconds.</p>")


def _content(request: Received) -> str:
    text = request.body.decode("utf-8", "replace")
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return unquote_plus(text).replace("&", "\n")


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<meta name="viewport" content="width=device-width"><title>What arrived · pbxhub demo</title>
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 52rem; margin: 2rem auto; padding: 0 1rem }
article { border: 1px solid #8884; border-radius: 8px; padding: .75rem 1rem; margin: 1rem 0 }
h2 { font: 600 1rem ui-monospace, monospace; margin: 0; overflow-wrap: anywhere }
time { opacity: .65; font-size: .85rem }
pre { margin: .5rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; font: .85rem/1.45 ui-monospace, monospace }
</style>
<h1>What arrived</h1>
<p>This is the built-in receiver. It gets the requests of the demo project; the newest is on top.</p>
@ROWS@</html>"""
