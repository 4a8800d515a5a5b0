"""The README and the pages of docs/ agree with the code."""

import re
from pathlib import Path

import pytest

from model_store.architectures import ARCHITECTURES
from tests.app.fakes import FixedEngine, app_with
from tests.app.wire import serving
from training.presets import preset_names
from training.verbs import VERBS

ROOT = Path(__file__).parent.parent


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_the_readme_stays_short() -> None:
    assert len(page("README.md").splitlines()) < 200


def test_every_network_and_every_preset_is_in_the_docs() -> None:
    text = page("docs/training.md")
    assert [
        name for name in (*ARCHITECTURES, *preset_names()) if f"`{name}`" not in text and f" {name}`" not in text
    ] == []


def test_every_verb_has_its_heading() -> None:
    text = page("docs/training.md") + page("docs/rendering.md")
    assert {"train", "evaluate", "predict", "publish", "inspect"} <= set(VERBS)
    assert [verb for verb in VERBS if f"## {verb}" not in text and f"`{verb} " not in text] == []


def test_the_python_example_prints_what_was_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", page("README.md"), flags=re.DOTALL)
    monkeypatch.chdir(ROOT)
    with serving(app_with(FixedEngine())) as port:
        exec(block.replace("127.0.0.1:8000", f"127.0.0.1:{port}"), {})
    assert capsys.readouterr().out.splitlines()[:1] == ["apple 0.95 [0.0, 0.0, 10.0, 10.0]"]
