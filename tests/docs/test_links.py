"""Every link leads somewhere."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docs.markdown import CARDS, PAGES, ROOT, anchors, links, name_of, prose

HERE = {"127.0.0.1", "localhost"}
ELSEWHERE = {
    "docs.openvino.ai",
    "docs.ray.io",
    "example.com",
    "github.com",
    "keepachangelog.com",
    "semver.org",
    "www.rfc-editor.org",
}
"""Where pages may lead a reader; one more is added here on purpose."""

every_page = pytest.mark.parametrize("page", [*PAGES, *CARDS], ids=name_of)


def fault_of(page: Path, target: str) -> str:
    """Return what is wrong with a link inside the repository; empty where nothing is."""
    path, _, fragment = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists():
        return f"{target}: there is no such file"
    if not file.is_relative_to(ROOT):
        return f"{target}: leads out of the repository"
    if fragment and fragment not in anchors(file):
        return f"{target}: there is no such heading"
    return ""


@every_page
def test_links_inside_the_repository_lead_to_files_and_headings(page: Path) -> None:
    inside = [target for target in links(page) if not re.match(r"[a-z]+:", target)]
    assert [fault for target in inside if (fault := fault_of(page, target))] == []


@every_page
def test_links_to_elsewhere_are_well_formed(page: Path) -> None:
    urls = re.findall(r"[a-z]+://[^\s)>\"`'|]+", prose(page)) + [
        one for one in links(page) if re.match(r"[a-z]+:", one)
    ]
    for url in urls:
        parts = urlsplit(url)
        assert parts.hostname
        if parts.hostname in HERE:
            assert parts.scheme == "http"
        else:
            assert (parts.scheme, parts.hostname in ELSEWHERE) == ("https", True), url


def test_a_wrong_link_is_found() -> None:
    page = ROOT / "README.md"
    assert fault_of(page, "docs/settings.md#settings") == ""
    assert "no such heading" in fault_of(page, "docs/settings.md#nothing")
    assert "no such heading" in fault_of(page, "#nothing")
    assert "no such file" in fault_of(page, "docs/nothing.md")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_page_is_reached_from_the_readme(page: Path) -> None:
    seen: set[Path] = set()
    open_ends = [ROOT / "README.md"]
    while open_ends:
        here = open_ends.pop()
        seen.add(here)
        targets = {(here.parent / target.partition("#")[0]).resolve() for target in links(here) if ":" not in target}
        open_ends += [path for path in targets - seen if path.suffix == ".md" and path.exists()]
    assert page in seen
