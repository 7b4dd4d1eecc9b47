"""A browser walks through the hub behind a real nginx, under /pbx: every page, its scripts, and the API."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Response

from pbxhub.testing.processes import free_port
from tests.support import shop
from tests.support.screenshots import PAGES, visit
from tests.support.site import Site, serving, sign_in
from tests.support.waiting import wait_until

_CONFIG = """
daemon off; user root; pid {folder}/nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 418; }}
        location /pbx/ {{
            proxy_pass {hub}{rest};
            proxy_set_header Host $host;
        }}
    }}
}}
"""


@pytest.fixture(params=["/pbx/", "/"], ids=["nginx keeps the path", "nginx takes it off"])
def behind_nginx(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with serving(tmp_path, shop.fill, path="/pbx") as site:
        port, config = free_port(), tmp_path / "nginx.conf"
        config.write_text(_CONFIG.format(folder=tmp_path, port=port, hub=site.url, rest=request.param))
        with subprocess.Popen(["nginx", "-c", config], stderr=subprocess.PIPE) as nginx:
            wait_until((tmp_path / "nginx.pid").exists, "nginx runs")
            yield replace(site, url=f"http://127.0.0.1:{port}/pbx")
            nginx.terminate()
            nginx.communicate()


def test_nothing_the_browser_asks_for_is_outside_of_the_path(
    behind_nginx: Site, open_page: Callable[..., Page]
) -> None:
    page, asked = open_page(), set[tuple[int, str]]()

    def note(response: Response) -> None:
        if response.url.startswith("http"):
            asked.add((response.status, urlsplit(response.url).path))

    page.on("response", note)
    sign_in(page, behind_nginx)
    for name, path in PAGES.items():
        if name != "missing":
            visit(page, behind_nginx, path)
    with page.expect_response("**/openapi.json"):
        page.goto(f"{behind_nginx.url}/api/v1/docs")
    assert {path for _status, path in asked if not path.startswith("/pbx/")} == set()
    assert {(status, path) for status, path in asked if status >= 400} == set()
    assert {"/pbx/api/v1/openapi.json"} <= {path for _status, path in asked}
    assert {cookie["path"] for cookie in page.context.cookies()} == {"/pbx"}
    assert any(path.endswith("rapidoc-min.js") for _status, path in asked)
