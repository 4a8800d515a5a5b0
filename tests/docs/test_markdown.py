"""The reader of Markdown that the other tests stand on."""

from pathlib import Path

import pytest

from tests.docs.markdown import Block, anchors, blocks_in, commands_in, inline_code, links

TEXT = """\
# The title

A [link](other.md#there) and ![a picture](images/a.png), `code` and `two
lines`, `[no](link)`.

<!-- not run: it needs
     a GPU -->
```sh
make serve  # comment
```

## Of `code` & more, [linked](x.md)

<!-- run by tests/a.py::test_b and tests/c.py::test_d -->
```python
print("```")
```

<!-- a remark -->
```sh
# only a comment

curl --one \\
  --two
```

1. A step:

   <!-- not run: of a list -->
   ```sh
   echo 1
   ```

## The title

<img src="images/b.svg" alt="">
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(TEXT)
    return path


def test_blocks_have_their_lines_languages_and_markers(page: Path) -> None:
    found = blocks_in(TEXT, page)
    assert [(block.line, block.language, block.why_not_run, block.run_by) for block in found] == [
        (8, "sh", "it needs a GPU", []),
        (15, "python", "", ["tests/a.py::test_b", "tests/c.py::test_d"]),
        (20, "sh", "", []),
        (30, "sh", "of a list", []),
    ]
    assert found[3].text == "echo 1\n"
    assert found[1].text == 'print("```")\n'


def test_a_reason_must_be_given(page: Path) -> None:
    (block,) = blocks_in("<!-- not run: -->\n```sh\nx\n```\n", page)
    assert (block.marker, block.why_not_run) == ("", "")


def test_commands_are_whole_lines() -> None:
    block = Block(Path("x"), 1, "sh", "# only a comment\n\ncurl --one \\\n  --two\nls  # why\n", "")
    assert commands_in(block) == ["curl --one --two", "ls # why"]


def test_links_and_pictures_outside_of_code_are_found(page: Path) -> None:
    assert list(links(page)) == ["other.md#there", "images/a.png", "x.md", "images/b.svg"]


def test_anchors_are_githubs(page: Path) -> None:
    assert anchors(page) == ["the-title", "of-code--more-linked", "the-title-1"]


def test_inline_code_may_go_over_two_lines(page: Path) -> None:
    assert inline_code(page) == ["code", "two lines", "[no](link)", "code"]
