from pathlib import Path

from PIL import Image

from tests.training.html_tags import tags_of_a_whole_page
from training.reports.html_page import document, figure, file, jpeg, table, tiles

NASTY = "<script>\"&'"


def test_whatever_is_text_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    Image.new("RGB", (2, 2)).save(path)
    parts = [
        tiles({NASTY: NASTY}),
        table([[NASTY, NASTY]], [NASTY, NASTY]),
        figure(jpeg(Image.new("RGBA", (2, 2)), NASTY), NASTY),
        file(path, NASTY, "plot"),
    ]
    text = document(NASTY, parts)
    tags = tags_of_a_whole_page(text)
    assert NASTY not in text
    assert text.count("&lt;script&gt;&quot;&amp;&#x27;") == 11
    assert tags.count("img") == 2


def test_a_file_is_embedded_as_what_it_is(tmp_path: Path) -> None:
    for name, kind in (("a.png", "png"), ("a.jpg", "jpeg")):
        Image.new("RGB", (2, 2)).save(tmp_path / name)
        assert f'src="data:image/{kind};base64,' in file(tmp_path / name, "a")
