import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rendersight import atomic

ROOT = Path(__file__).parents[2]

# writes half of a file or folder, says so, and waits to be killed
HALF = """
import sys
from pathlib import Path
from rendersight import atomic
def fill(draft):
    (draft / "half" if draft.is_dir() else draft).write_text("written")
    print("written", flush=True)
    sys.stdin.read()
getattr(atomic, sys.argv[1])(Path(sys.argv[2]), fill)
"""


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("write", ["write_file", "write_folder"])
def test_draft_stays_until_its_writer_is_killed(write: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    command = [sys.executable, "-c", HALF, write, target]
    writer = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        (draft,) = tmp_path.iterdir()
        atomic.remove_abandoned(tmp_path)
        assert [*tmp_path.iterdir()] == [draft]
        writer.send_signal(signal.SIGKILL)
    assert atomic.write_folder(target, lambda folder: (folder / "whole").touch())
    assert (names_in(tmp_path), names_in(target)) == ([target.name], ["whole"])


def test_replaces_a_file_only_by_a_whole_one(tmp_path: Path) -> None:
    def fail(draft: Path) -> None:
        draft.write_text("half")
        raise KeyboardInterrupt

    path = tmp_path / "file"
    atomic.write_bytes(path, b"first")
    with pytest.raises(KeyboardInterrupt):
        atomic.write_file(path, fail)
    assert (names_in(tmp_path), path.read_text()) == (["file"], "first")
    atomic.write_bytes(path, b"second")
    assert (names_in(tmp_path), path.read_text()) == (["file"], "second")


def test_failed_folder_leaves_nothing(tmp_path: Path) -> None:
    def fail(draft: Path) -> None:
        (draft / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic.write_folder(tmp_path / "target", fail)
    assert [*tmp_path.iterdir()] == []


def test_many_writers_never_remove_each_other_s_drafts(tmp_path: Path) -> None:
    target = tmp_path / "target"
    written: list[bool] = []

    def fill(draft: Path) -> None:
        (draft / "file").touch()
        assert (draft / "file").exists()

    def work() -> None:
        written.extend(atomic.write_folder(target, fill) for _ in range(100))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert (len(written), sum(written)) == (400, 1)
    assert (names_in(tmp_path), names_in(target)) == (["target"], ["file"])


def test_removes_an_abandoned_link_and_not_its_target(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / ".rendersight-draft-1").symlink_to(tmp_path / "file")
    atomic.remove_abandoned(tmp_path)
    assert names_in(tmp_path) == ["file"]


def test_draft_that_cannot_be_locked_stays(tmp_path: Path) -> None:
    (tmp_path / ".rendersight-draft-1").symlink_to(tmp_path / "missing")
    atomic.remove_abandoned(tmp_path)
    assert names_in(tmp_path) == [".rendersight-draft-1"]
