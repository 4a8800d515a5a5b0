"""Drafts: whose maker lives stays, whose maker was killed goes."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from model_store.drafts import draft_folder, locked, remove_abandoned

ROOT = Path(__file__).parents[2]

HOLD = """
import sys
from pathlib import Path
from model_store.drafts import draft_folder
with draft_folder(Path(sys.argv[1]), ".draft-") as draft:
    (draft / "half").write_text("written")
    print(draft, flush=True)
    sys.stdin.read()
"""


def test_a_draft_stays_until_its_maker_is_killed(tmp_path: Path) -> None:
    maker = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with maker:
        assert maker.stdout is not None
        theirs = Path(maker.stdout.readline().strip())
        with draft_folder(tmp_path, ".draft-") as mine:
            assert {*tmp_path.iterdir()} == {theirs, mine}
        assert (theirs / "half").read_text() == "written"
        maker.send_signal(signal.SIGKILL)
    assert [*tmp_path.iterdir()] == [theirs]
    with draft_folder(tmp_path, ".draft-") as mine:
        assert [*tmp_path.iterdir()] == [mine]
    assert [*tmp_path.iterdir()] == []


def test_only_drafts_of_the_prefix_are_looked_at(tmp_path: Path) -> None:
    for name in ("dice", ".other-1"):
        (tmp_path / name).mkdir()
    with draft_folder(tmp_path, ".draft-"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other-1", "dice"]


def test_a_draft_goes_when_its_block_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with draft_folder(tmp_path, ".draft-") as draft:
            (draft / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [*tmp_path.iterdir()] == []


def test_many_at_once_never_take_each_other_s(tmp_path: Path) -> None:
    kept: list[bool] = []

    def work() -> None:
        for _ in range(100):
            with draft_folder(tmp_path, ".draft-") as draft:
                (draft / "file").touch()
                kept.append((draft / "file").exists())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert kept == [True] * 400
    assert [*tmp_path.iterdir()] == []


def test_files_are_drafts_as_well(tmp_path: Path) -> None:
    abandoned, held = tmp_path / "abandoned", tmp_path / "held"
    abandoned.touch()
    held.touch()
    with locked(held) as is_locked:
        assert is_locked
        remove_abandoned(tmp_path.iterdir())
    assert [*tmp_path.iterdir()] == [held]


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    remove_abandoned([tmp_path / "link"])
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]


def test_what_cannot_be_locked_stays(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    with locked(tmp_path / "link") as is_locked:
        assert not is_locked
    remove_abandoned(tmp_path.iterdir())
    assert [*tmp_path.iterdir()] == [tmp_path / "link"]
