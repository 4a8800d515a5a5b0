"""Self-contained HTML pages: Jinja2 templates whose style and pictures are embedded; a page fetches nothing."""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from training.data.findings import counted

TEMPLATES = Path(__file__).parent / "templates"

_environment = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_environment.globals["counted"] = counted


def render(template: str, **values: Any) -> str:
    """Return the page of a template. Values are plain text: what looks like HTML in them is escaped."""
    return _environment.get_template(template).render(values)


def jpeg_uri(image: Image.Image, *, quality: int = 82) -> str:
    """Return an image as the `data:` URI of a JPEG."""
    buffer = BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=quality)
    return _uri(buffer.getvalue(), "jpeg")


def file_uri(path: Path) -> str:
    """Return a PNG or JPEG file, unchanged, as a `data:` URI."""
    return _uri(path.read_bytes(), "png" if path.suffix == ".png" else "jpeg")


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
