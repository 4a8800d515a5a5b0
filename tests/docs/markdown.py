"""The Markdown pages taken apart: fenced blocks, links, headings, inline code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "examples" / "README.md",
]
"""What people read to use or change the project; cards of releases are written by `publish`."""

CARDS = sorted((ROOT / "model_store" / "releases").glob("*/*/README.md"))

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
_MARKER = re.compile(r"<!-- ((?:not run: |run by )(?:(?!-->).)+) -->\n\Z", re.DOTALL)
_LINK = re.compile(r"\]\(([^()\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: the file.
        line: of its first fence, from 1.
        language: after the fence.
        text: between the fences.
        marker: of a comment right above, what it says of how the block is run; else empty.
    """

    page: Path
    line: int
    language: str
    text: str
    marker: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"

    @property
    def why_not_run(self) -> str:
        """The reason why it is not run; empty where it is."""
        return self.marker.removeprefix("not run: ").strip() if self.marker.startswith("not run: ") else ""

    @property
    def run_by(self) -> list[str]:
        """The tests that run it, as pytest names them."""
        return self.marker.removeprefix("run by ").split(" and ") if self.marker.startswith("run by ") else []


def name_of(page: Path) -> str:
    """Return a file's path from the repository's root."""
    return page.relative_to(ROOT).as_posix()


def blocks_in(text: str, page: Path) -> list[Block]:
    """Return the fenced blocks of a page's text."""
    found = []
    for match in _FENCE.finditer(text):
        above = text[: match.start()]
        marker = _MARKER.search(above)
        said = " ".join(marker[1].split()) if marker else ""
        found.append(Block(page, above.count("\n") + 1, match["language"], dedent(match["text"]), said))
    return found


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    return blocks_in(page.read_text("utf-8"), page)


def commands_in(block: Block) -> list[str]:
    """Return the command lines of a block, continued ones joined, empty ones and comments left out."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks and comments."""
    return re.sub(r"<!--.*?-->", "", _FENCE.sub("", page.read_text("utf-8")), flags=re.DOTALL)


def inline_code(page: Path) -> list[str]:
    """Return what stands between backticks, on one line or over two."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]


def links(page: Path) -> Iterator[str]:
    """Yield the targets of links and pictures."""
    for match in _LINK.finditer(re.sub(r"`[^`]*`", "", prose(page))):
        yield match[1] or match[2]


def anchors(page: Path) -> list[str]:
    """Return the fragments that a page's headings are reached by, as GitHub makes them."""
    found: list[str] = []
    for title in re.findall(r"^#{1,6} +(.+?) *$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{sum(one.startswith(slug) for one in found)}")
    return found
