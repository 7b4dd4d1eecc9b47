"""Browsers that sign in as people would, and the people of two projects."""

import re
from collections import Counter
from dataclasses import dataclass, field

from flask.testing import FlaskClient

PASSWORD = "correct horse battery"
# what the page asks the first owner
FORM = {
    "email": "Anna@Example.com",
    "your_name": "Anna",
    "password": PASSWORD,
    "name": "Shop",
    "time_zone": "Europe/Kyiv",
    "country": "UA",
}
TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


@dataclass
class Browser:
    """A browser with its cookies: get pages, post forms with the token of a page seen before."""

    client: FlaskClient
    token: str = field(default="")

    def get(self, path: str, **options):
        answer = self.client.get(path, **options)
        if found := TOKEN.search(answer.get_data(as_text=True)):
            self.token = found[1]
        return answer

    def post(self, path: str, data: dict | None = None, **options):
        return self.client.post(path, data={"csrf_token": self.token, **(data or {})}, **options)

    def walk(self, start: str, leave_out: str = "$^") -> list[str]:
        """The paths of all pages that links lead to from the start of a project, three of each kind. Each opens.

        leave_out: a regular expression of paths that are not opened.
        """
        seen: Counter[str] = Counter()
        opened, waiting = [], [start]
        while waiting:
            path = waiting.pop()
            kind = re.sub(r"[0-9a-f-]{36}|\d+", "N", path)
            seen[kind] += 1
            if seen[kind] > 3:
                continue
            answer = self.get(path)
            assert answer.status_code in (200, 302), path
            opened.append(path)
            found = re.findall(r'(?:href|hx-get)="(/projects/\d+/[^"#]*)"', answer.get_data(as_text=True))
            waiting += [link.replace("&amp;", "&") for link in dict.fromkeys(found) if not re.search(leave_out, link)]
        assert len(seen) > 25, seen
        return opened

    def sign_in(self, email: str, password: str = PASSWORD):
        self.get("/sign-in")
        return self.post("/sign-in", {"email": email, "password": password, "submit": "1"})


def without_the_moment(page: str) -> str:
    """Without what is of the session, and of the moment at which the page was made; a mark is a sum of both."""
    return re.sub(r'"I[jm][\w-]+\.[\w-]+\.[\w-]+"|value="[\dT:-]+\.\d+\+00:00"|data-mark="[^"]*"', "", page)


@dataclass(frozen=True)
class People:
    """A project with one member of each role, another project with an owner of its own, and an operator in neither."""

    project: int
    other: int
