"""Every command in the docs runs as it stands, at a small size, or says why it does not."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from model_store.engines import ENGINES
from tests.docs.markdown import PAGES, ROOT, Block, blocks, commands_in, name_of
from tests.docs.place import checkout
from tests.docs.session import Session, Shared

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.timeout(600)]

LONG = {"README.md", "docs/training.md", "docs/your-photos.md", "docs/notebook.md"}
"""Pages that train or convert a network, which takes over ten seconds; tests/training does both every day."""

TRAINS_OR_CONVERTS = re.compile(r"-m training (train|publish) |RENDERSIGHT_MODEL=\S+\.tar ")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    with ExitStack() as opened:
        yield Shared(tmp_path_factory.mktemp("shared"), opened)


@pytest.fixture
def session(tmp_path: Path, shared: Shared) -> Iterator[Session]:
    made = Session(checkout(tmp_path / "checkout"), shared)
    yield made
    made.close()
    shutil.rmtree(tmp_path / "checkout")  # runs and releases are large, and pytest keeps what is left


def commands_of(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in ("sh", "python") and not block.marker]


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name_of(page), marks=[pytest.mark.long] if name_of(page) in LONG else [])
        for page in PAGES
        if commands_of(page)
    ],
)
def test_commands_of_a_page_run_in_their_order(page: Path, session: Session) -> None:
    for block in commands_of(page):
        session.run(block)


def test_quick_commands_of_the_readme_run(session: Session) -> None:
    quick = [block for block in commands_of(ROOT / "README.md") if not TRAINS_OR_CONVERTS.search(block.text)]
    assert {block.language for block in quick} == {"sh", "python"}
    for block in quick:
        session.run(block)


def test_answer_in_the_readme_is_what_the_service_gives(session: Session) -> None:
    found = blocks(ROOT / "README.md")
    at = next(index for index, block in enumerate(found) if block.language == "json")
    shown, asked = json.loads(found[at].text), found[at - 1]
    session.run(asked)
    answer = json.loads(session.answers[commands_in(asked)[0]])
    assert list(answer) == list(shown)
    assert answer["model"].pop("engine") in ENGINES  # which one depends on the processor
    assert shown["model"].pop("engine") in ENGINES
    assert {**answer, "detections": None} == {**shown, "detections": None}
    for came, printed in zip(answer["detections"], shown["detections"], strict=True):
        assert list(came) == list(printed)
        assert (came["label"], came["label_id"]) == (printed["label"], printed["label_id"])
        assert came["score"] == pytest.approx(printed["score"], abs=0.02)  # processors differ in their arithmetic
        assert came["box"] == pytest.approx(printed["box"], abs=4)


def test_tensors_in_kserve_md_are_what_the_service_gives(session: Session) -> None:
    found = blocks(ROOT / "docs" / "kserve.md")
    at = next(index for index, block in enumerate(found) if block.language == "json")
    shown, asked = json.loads(found[at].text), found[at - 1]
    session.run(asked)
    answer = json.loads(session.answers[commands_in(asked)[-1]])
    assert {**answer, "outputs": None} == {**shown, "outputs": None}
    for came, printed in zip(answer["outputs"], shown["outputs"], strict=True):
        assert {**came, "data": None} == {**printed, "data": None}
        assert came["data"] == pytest.approx(printed["data"], abs=4 if came["name"] == "boxes" else 0.02)


def test_failing_command_is_reported_with_its_line(session: Session) -> None:
    for line, message in (
        ("curl -F image=@photo.jpg http://127.0.0.1:8000/nowhere", "exit status 22"),
        ("curl -F image=@missing.jpg http://127.0.0.1:8000/detect", "exit status 26"),
        ("curl 'http://127.0.0.1:8000/detect?score_threshold=2' --data-binary @photo.jpg", "exit status 22"),
        (".venv/bin/python -m training inspect NOWHERE", "exit status 2"),
        (".venv/bin/python -m training fly", "fly has no small size here"),
        ("RENDERSIGHT_MODEL=nowhere@1 make serve", "it ended: "),
        ("rm -r PHOTOS", "no test knows how to run `rm -r PHOTOS`"),
    ):
        with pytest.raises(AssertionError, match=re.escape(message)) as failed:
            session.run(Block(ROOT / "README.md", 7, "sh", f"{line}\n", ""))
        assert str(failed.value).startswith("README.md:7: ")
