"""A tab with the page, in the words of its visitor."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, Request, expect

EXAMPLES = Path(__file__).parents[2] / "examples"
_FAILED = "Failed to load resource: the server responded with a status of "


@dataclass
class Tab:
    """One tab; what its console complained of, and what it asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def choose(self, *photos: Path) -> None:
        """Choose files, as in the browser's own dialog."""
        self.find("#choose").set_input_files(photos)

    def detected(self, *photos: Path) -> None:
        """Choose files and wait until the first is answered."""
        self.choose(*photos)
        expect(self.find("#found")).to_be_visible()

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Class and score of each object in the list."""
        return [
            (row.locator("td").nth(0).inner_text().strip(), row.locator("td").nth(1).inner_text().strip())
            for row in self.find("#objects tr").all()
        ]

    @property
    def asked(self) -> list[str]:
        """The addresses that photos were sent to."""
        return [request.url for request in self.requests if request.method == "POST"]

    def forgive(self, *statuses: int) -> None:
        """Take from the complaints that answers had these statuses, which the test provoked; each must be there."""
        told = [text for text in self.complaints if text.startswith(_FAILED)]
        assert sorted({int(text.removeprefix(_FAILED)[:3]) for text in told}) == sorted(statuses)
        self.complaints[:] = [text for text in self.complaints if text not in told]


def answer_of(service: str, photo: Path, **query: Any) -> dict[str, Any]:
    """Ask the service without a browser."""
    response = httpx.post(f"{service}detect", params=query, files={"image": photo.read_bytes()}, timeout=60)
    assert response.status_code == 200, response.text
    return dict(response.json())


def as_rows(detections: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(found["label"], f"{found['score']:.2f}") for found in detections]
