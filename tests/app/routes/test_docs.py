import re
from urllib.parse import urljoin

from fastapi.testclient import TestClient

from tests.app.references import References


def test_page_loads_only_from_this_service(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    references = References(page.text)
    assert {name.rpartition(".")[2] for name in references.found} == {"js", "css", "png", "json"}
    for name in references.found:
        assert "//" not in name
        assert client.get(urljoin("/docs", name)).status_code == 200
    script = client.get("/docs/assets/docs.js").text
    assert not re.search(r"https?:", script)
    assert client.get(re.search(r'url: "(.+?)"', script)[1]).json()["openapi"]  # type: ignore[index]


def test_policy_forbids_other_sites(client: TestClient) -> None:
    page = client.get("/docs")
    references = References(page.text)
    assert references.inline == 0
    policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert not any("http" in sources or "*" in sources for sources in policy.values())


def test_the_assets_are_swagger_ui(client: TestClient) -> None:
    assert "SwaggerUIBundle" in client.get("/docs/assets/swagger-ui-bundle.js").text
    assert ".swagger-ui" in client.get("/docs/assets/swagger-ui.css").text
    assert client.get("/docs/assets/swagger-ui-bundle.js").headers["content-type"].startswith("text/javascript")
