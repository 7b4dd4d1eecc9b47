"""An authenticator app, and how an account gets it."""

import base64
import hmac
import re
import struct
import time

from tests.support.people import Browser


def code_of(key: str, step: int = 0) -> str:
    """The six digits the app shows so many steps of 30 seconds from now (RFC 6238)."""
    counter = struct.pack(">Q", int(time.time()) // 30 + step)
    digest = hmac.digest(base64.b32decode(key), counter, "sha1")
    start = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[start : start + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


def switch_on(browser: Browser) -> tuple[str, str]:
    """Turns the second factor on in a browser that is signed in; returns the key, and the code that was used."""
    browser.get("/tf-setup")
    page = browser.post("/tf-setup", {"setup": "authenticator"}).get_data(as_text=True)
    key = re.search(r"<code>([A-Z2-7 -]+)</code>", page)[1].replace(" ", "").replace("-", "")
    action = re.search(r'action="(/tf-setup/[^"]+)"', page)[1]
    code = code_of(key)
    assert browser.post(action, {"code": code, "submit": "1"}).status_code == 302
    return key, code
