"""The design system on one page of a development server: `make design`, then open the printed address."""

import sys
import tempfile
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path

from flask import Blueprint, Flask, render_template

from pbxhub.account.statistics import Bar
from pbxhub.store.session import Database
from pbxhub.wsgi.current import now
from tests.support import shop
from tests.support.site import serving

pages = Blueprint("design", __name__, template_folder="templates")


@pages.get("/design")
def design() -> str:
    """Everything that pages are made of, each once."""
    start = now() - timedelta(hours=24)
    hours = [
        Bar(start + timedelta(hours=n), Counter(delivered=n * 7 % 11, failed=n * 3 % 4), n * 5 % 13) for n in range(24)
    ]
    return render_template("design.html", hours=hours)


def fill(app: Flask, database: Database) -> int:
    """The flower shop, with the page of the design system beside it."""
    app.register_blueprint(pages)
    return shop.fill(app, database)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), fill) as site:
        sys.stdout.write(f"{site.url}/design\nSign in as {shop.EMAIL}, password {shop.PASSWORD}. Ctrl-C stops it.\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
