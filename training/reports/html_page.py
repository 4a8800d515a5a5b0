"""A self-contained HTML page: style and pictures are embedded, and nothing is fetched."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --dim: #667; --ground: #fff; --panel: #f4f5f7; --line: #d9dce1;
  --bar: #3b6fd4; --fault: #c62828; --warning: #b26a00; --note: #3a6ea5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7e9ec; --dim: #9aa3ad; --ground: #15171a; --panel: #1f2226;
  --line: #353a41; --bar: #6f9cf0; --fault: #ff7b72; --warning: #e3a23c; --note: #7fb2e5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 72rem; color: var(--ink); background: var(--ground);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .7rem; }
p { margin: .3rem 0; overflow-wrap: anywhere; } img { max-width: 100%; } .dim { color: var(--dim); }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1.2rem 0; }
.tile { background: var(--panel); border-radius: .5rem; padding: .5rem .9rem; min-width: 6.5rem; }
.tile b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.finding { border: 1px solid var(--line); border-left: 4px solid var(--tone); border-radius: .4rem;
  padding: .6rem .9rem; margin: .7rem 0; }
.fault { --tone: var(--fault); } .warning { --tone: var(--warning); } .note { --tone: var(--note); }
.badge { color: var(--tone); font-weight: 600; margin-right: .5rem; }
.pictures { display: flex; flex-wrap: wrap; gap: .6rem; margin-top: .6rem; }
.pictures figure { margin: 0; width: 180px; } .pictures img { display: block; max-width: 100%; border-radius: .25rem; }
figcaption { font-size: .8rem; color: var(--dim); overflow-wrap: anywhere; }
details { margin-top: .4rem; } summary { cursor: pointer; color: var(--dim); }
ul { margin: .3rem 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(28rem, 100%), 1fr)); gap: 1rem; }
.charts figure { margin: 0; background: var(--panel); border-radius: .5rem; padding: .6rem .8rem; }
.charts figcaption { color: var(--ink); font-size: .95rem; } svg { width: 100%; height: auto; }
svg text { fill: var(--dim); font: 12px system-ui, sans-serif; } svg .small { font-size: 11px; }
svg .middle { text-anchor: middle; } svg .end { text-anchor: end; } svg .bar { fill: var(--bar); }
svg .axis { stroke: var(--line); } svg .mark { stroke: var(--dim); stroke-dasharray: 3 3; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; }
td.number { text-align: right; font-variant-numeric: tabular-nums; width: 5rem; } td.wide { width: 60%; }
.level { background: var(--bar); height: .8rem; border-radius: .2rem; min-width: 1px; }
img.sheet { width: 100%; border-radius: .4rem; } .charts img { border-radius: .3rem; }
table.figures { width: auto; font-variant-numeric: tabular-nums; }
.figures td + td, .figures th + th { text-align: right; }
.figures td { border-top: 1px solid var(--line); }
pre { background: var(--panel); border-radius: .4rem; padding: .6rem .9rem; font-size: .85rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { img.plot { filter: invert(.9) hue-rotate(180deg); } }
"""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, parts: Sequence[str]) -> str:
    """Return a page; `parts` are HTML, `title` is plain text for the heading."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def tiles(values: Mapping[str, object]) -> str:
    """Return HTML of name -> value as a row of large values."""
    shown = [f'<div class="tile"><b>{escape(str(value))}</b>{escape(name)}</div>' for name, value in values.items()]
    return f'<div class="tiles">{"".join(shown)}</div>'


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Return an HTML table of text cells; all cells but the first of a row are numbers or short words."""
    lines = [f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in header)}</tr>"] if header else []
    lines += [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return f'<div class="scroll"><table class="figures">{"".join(lines)}</table></div>'


def jpeg(image: Image.Image, words: str, kind: str = "", *, quality: int = 82) -> str:
    """Return an embedded JPEG of an image; `words` is its alternative text, `kind` a CSS class of the page."""
    buffer = BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=quality)
    return _img(buffer.getvalue(), "jpeg", words, kind)


def file(path: Path, words: str, kind: str = "") -> str:
    """Return an embedded PNG or JPEG file, unchanged; `words` and `kind` are as for `jpeg`."""
    return _img(path.read_bytes(), "png" if path.suffix == ".png" else "jpeg", words, kind)


def figure(inside: str, caption: str) -> str:
    """Return HTML with a caption."""
    return f"<figure>{inside}<figcaption>{escape(caption)}</figcaption></figure>"


def _img(content: bytes, kind_of_file: str, words: str, kind: str) -> str:
    data = base64.b64encode(content).decode()
    return f'<img class="{kind}" alt="{escape(words)}" src="data:image/{kind_of_file};base64,{data}">'
