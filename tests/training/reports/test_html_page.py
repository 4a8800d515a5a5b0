import re
from pathlib import Path

import pytest
from PIL import Image

from training.reports.html_page import TEMPLATES, file_uri, jpeg_uri


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.html")), ids=lambda path: path.name)
def test_no_template_turns_escaping_off(path: Path) -> None:
    assert not re.search(r"\|\s*safe\b|autoescape", path.read_text("utf-8"))


def test_embeds_pictures(tmp_path: Path) -> None:
    assert jpeg_uri(Image.new("RGBA", (2, 2))).startswith("data:image/jpeg;base64,")
    for name, kind in (("a.png", "png"), ("a.jpg", "jpeg")):
        Image.new("RGB", (2, 2)).save(tmp_path / name)
        assert file_uri(tmp_path / name).startswith(f"data:image/{kind};base64,")
