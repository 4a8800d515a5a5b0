"""The README and the pages of docs/ agree with the code."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from model_store.architectures import ARCHITECTURES
from rendersight.cli import PROGRAM
from tests.app.fakes import FixedEngine, app_with
from tests.app.wire import serving
from training.commands import VERBS
from training.presets import preset_names

ROOT = Path(__file__).parent.parent


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_the_readme_stays_short() -> None:
    assert len(page("README.md").splitlines()) < 130


def test_every_network_and_every_preset_is_in_the_docs() -> None:
    text = page("docs/training.md")
    assert [
        name for name in (*ARCHITECTURES, *preset_names()) if f"`{name}`" not in text and f" {name}`" not in text
    ] == []


def test_every_verb_has_its_heading() -> None:
    text = page("docs/training.md") + page("docs/rendering.md")
    assert {"train", "evaluate", "predict", "publish", "inspect"} <= set(VERBS)
    assert [verb for verb in VERBS if f"## {verb}" not in text and f"`{verb} " not in text] == []


def test_every_verb_of_the_console_script_is_on_the_page_of_the_client() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page("docs/client.md"), re.MULTILINE)
    listed = {verb for row in rows for verb in re.findall(r"\w+", row)}
    assert "detect" in PROGRAM.verbs
    assert PROGRAM.verbs.keys() <= listed


def test_every_make_target_is_in_the_contributors_page() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", page("Makefile"), re.MULTILINE)
    assert {"serve", "test", "reference"} <= set(targets)
    listed = re.findall(r"^\| `make ([a-z-]+)` \|", page("CONTRIBUTING.md"), re.MULTILINE)
    assert sorted(listed) == sorted(targets)


def test_every_benchmark_is_in_the_table() -> None:
    started = [
        path.stem
        for path in (ROOT / "benchmarks").glob("*.py")
        if path.stem != "__main__" and "__main__" in path.read_text("utf-8")
    ]
    assert {"serving", "soak"} <= set(started)
    rows = "".join(re.findall(r"^\| `benchmarks.*\|$", page("docs/performance.md"), re.MULTILINE))
    assert [name for name in started if f"`benchmarks.{name}`" not in rows] == []


def test_every_marker_is_explained_to_contributors() -> None:
    text = page("pyproject.toml")
    markers = re.findall(r'^  "([a-z]+): ', text[text.index("markers = [") :], re.MULTILINE)
    assert {"long", "container"} <= set(markers)
    assert [marker for marker in markers if f"`{marker}`" not in page("CONTRIBUTING.md")] == []


def test_the_python_example_prints_what_was_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", page("README.md"), flags=re.DOTALL)
    monkeypatch.chdir(ROOT)
    with serving(app_with(FixedEngine())) as port:
        exec(block.replace("127.0.0.1:8000", f"127.0.0.1:{port}"), {})
    assert capsys.readouterr().out.splitlines()[:1] == ["apple 0.95 (0.0, 0.0, 10.0, 10.0)"]


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "images").glob("*.svg")), ids=lambda path: path.name)
def test_a_drawing_is_small_and_complete_in_itself(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text) < 30_000
    drawing = ElementTree.fromstring(text)
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    assert [child.tag.partition("}")[2] for child in drawing][:2] == ["title", "desc"]
    assert "prefers-color-scheme: dark" in text
    fetched = re.findall(r"url\((?!#)|href=|@import|<script|<image", text)
    assert fetched == []
