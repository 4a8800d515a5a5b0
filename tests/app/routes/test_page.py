import io
import re
from urllib.parse import urljoin

import httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.http.assets import STATIC
from tests.app.references import References

TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


@pytest.fixture
def page(client: TestClient) -> httpx.Response:
    return client.get("/")


def imported(source: str) -> list[str]:
    """The modules that a module imports."""
    return re.findall(r'\bfrom "(.+?)"|\bimport\("(.+?)"\)|^import "(.+?)"', source, flags=re.MULTILINE)


def served(client: TestClient, html: str) -> dict[str, httpx.Response]:
    """Each asset that the page loads, and those load in turn."""
    waiting = [urljoin("/", name) for name in References(html).found if name.startswith("page/")]
    found: dict[str, httpx.Response] = {}
    while waiting:
        address = waiting.pop()
        if address in found:
            continue
        found[address] = client.get(address)
        if address.endswith(".js"):
            names = [next(filter(None, groups)) for groups in imported(found[address].text)]
            waiting += [urljoin(address, name) for name in names]
    return found


def test_the_root_is_the_page(page: httpx.Response) -> None:
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>Rendersight</title>" in page.text
    assert "docs" in References(page.text).found


def test_serves_exactly_the_files_of_the_page(client: TestClient, page: httpx.Response) -> None:
    assets = served(client, page.text)
    for address, answer in assets.items():
        assert answer.status_code == 200, address
        assert answer.headers["content-type"] == TYPES[address.rpartition(".")[2]]
        assert answer.headers["cache-control"] == "no-cache"
    unused = {path.name for path in STATIC.iterdir()} - {address.removeprefix("/page/") for address in assets}
    assert unused == {"page.html", "docs.html", "docs.js"}


def test_page_loads_nothing_external_or_inline(client: TestClient, page: httpx.Response) -> None:
    assert References(page.text).inline == 0
    for text in (page.text, *(answer.text for answer in served(client, page.text).values())):
        assert set(re.findall(r"https?://[^\s\"']+", text)) <= {"http://www.w3.org/2000/svg"}
        assert not re.search(r"\b(eval|innerHTML|insertAdjacentHTML|document\.write)\b", text)
    policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {"'self'", "blob:"} == {
        one for name, rule in policy.items() if name[-3:] == "src" for one in rule.split()
    } - {"'none'"}


def test_serves_the_example_pictures(client: TestClient) -> None:
    names = client.get("/examples").json()["photos"]
    assert names == [f"dice-{number}.jpg" for number in range(1, 6)]
    for name in names:
        answer = client.get(f"/examples/{name}")
        assert answer.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert picture.size == (640, 640)
