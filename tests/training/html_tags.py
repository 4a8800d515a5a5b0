"""An HTML page taken apart: its tags, and whether it needs anything from outside."""

import re
from html.parser import HTMLParser


class Reader(HTMLParser):
    """Collects the tags and what they lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("img", "meta"):
            self.open.append(tag)
        self.addresses += [str(value) for key, value in attrs if key in ("src", "href", "data", "action", "srcset")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags_of_a_whole_page(text: str) -> list[str]:
    """Return the tags of a page.

    Raises:
        AssertionError: a tag is left open, something runs, or something is fetched.
    """
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert not {"script", "link", "iframe", "object", "form"} & set(reader.tags)
    assert all(re.match("data:image/(jpeg|png);base64,", address) for address in reader.addresses)
    assert not re.search(r"url\(|@import|https?:", text)
    assert "default-src 'none'" in text
    return reader.tags
