"""What a page of ours loads or links to."""

from html.parser import HTMLParser


class References(HTMLParser):
    """Collects the addresses in an HTML page, and counts what a strict policy would not run or style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.found += [value for name, value in attrs if name in ("src", "href") and value]
        self.inline += tag == "style" or (tag == "script" and "src" not in named)
        self.inline += any(name.startswith("on") or name == "style" for name in named)
