"""`kill -9` at any moment: the store and a run's folder stay valid, and the next command goes on.

The fast tests kill once: `test_distributed.py` a training, `tests/model_store/test_store.py` a publisher.
"""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from model_store import store
from model_store.errors import ReleaseNotFound
from model_store.manifest import FILE_NAME
from model_store.state_dict import read_state_dict
from model_store.store import Release
from tests.model_store.test_store import accept
from tests.training.conftest import CONFIG, Finished, figures
from tests.training.killed import Forks
from training.records.checkpoint import BEST, LAST
from training.records.run_folder import (
    HOLD_OUT_LIST,
    METRICS,
    PAGE,
    PLOTS,
    RUN,
    TRAIN_LIST,
    RunRecord,
    read_metrics,
    read_names,
)
from training.releasing.publish import check_release, hashes_of
from training.reports.tensorboard import FOLDER as SCALARS

SEED = 9
RUN_FILES = (RUN, TRAIN_LIST, HOLD_OUT_LIST, METRICS, LAST, BEST, PAGE)
KILLS = 50

Identity = tuple[int, int] | None

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


class Kills:
    """Random moments to kill at, and where they fell.

    Attributes:
        job_s: how long the job takes if nobody kills it.
        stages: how often a kill fell where.
    """

    def __init__(self, job_s: float, *, skew: int) -> None:
        self.job_s = job_s
        self.stages: Counter[str] = Counter()
        self._skew = skew
        self._random = random.Random(SEED)
        self._after_s = 0.0

    def draw(self) -> float:
        """Return the seconds that a job may live, from none to a fifth more than it takes; in turn few, more and many.

        A skew above 1 makes few more likely: a publisher of small files makes its first one at once.
        """
        third = self.stages.total() % 3
        self._after_s = 1.2 * self.job_s * ((third + self._random.random()) / 3) ** self._skew
        return self._after_s

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell in a failure which kill it was."""
        try:
            yield
        except BaseException as error:
            moment = f"{self._after_s:.4f} s into a job of {self.job_s:.4f} s"
            error.add_note(f"seed {SEED}, kill {self.stages.total()}, {moment}; so far {dict(self.stages)}")
            raise


class Published:
    """A store that publishers are killed in: what it holds never changes."""

    def __init__(self, root: Path, name: str, check: Callable[[Release], None]) -> None:
        self._root, self._name, self._check = root, name, check
        self._hashes: dict[int, dict[str, str]] = {}

    def stage_of_killed(self) -> str:
        """Tell by what is on disk how far the publisher was."""
        if len(store.versions(self._root, self._name)) > len(self._hashes):
            return "after"
        drafts = [*self._root.glob(f"{self._name}/.rendersight-draft-*/*")]
        if not drafts:
            return "before"
        return "written, not yet visible" if (drafts[0] / FILE_NAME).exists() else "half written"

    def check(self, *, visible: int) -> None:
        """Make sure that the store has as many sound versions, and the earlier ones as they were."""
        root, name = self._root, self._name
        versions = store.versions(root, name)
        assert versions == list(range(1, visible + 1))
        for version in versions:
            release = store.find(root, f"{name}@{version}")
            release.verify()
            hashes = hashes_of(release.folder)
            assert {FILE_NAME, *release.manifest.files} == hashes.keys()
            if version not in self._hashes:
                self._check(release)
            assert self._hashes.setdefault(version, hashes) == hashes
        assert {path.name for path in root.glob("*")} <= {name}
        visible_names = {path.name for path in root.glob(f"{name}/*") if not path.name.startswith(".")}
        assert visible_names == {str(version) for version in versions}
        known = ", ".join(f"{name}@{version}" for version in versions)
        with pytest.raises(ReleaseNotFound, match=rf"there: {known or 'none'}$"):
            store.find(root, "another")
        if versions:
            assert store.find(root, name).ref == f"{name}@{versions[-1]}"


def kill_publishers(
    forks: Forks,
    job: tuple[Any, ...],
    root: Path,
    *,
    name: str,
    check: Callable[[Release], None],
    skew: int,
) -> None:
    """Kill publishers, each followed by one that lives, and look at the store after each."""
    kills = Kills(forks.finish(*job, root / "timed"), skew=skew)
    for number in range(KILLS):
        place = root / str(number // 5)  # a few kills in each, so that all of it can be read after each
        if number % 5 == 0:
            shutil.rmtree(root)
            published, visible = Published(place, name, check), 0
        forks.kill(*job, place, after_s=kills.draw())
        with kills.told():
            stage = published.stage_of_killed()
            kills.stages[stage] += 1
            visible += stage == "after"
            published.check(visible=visible)
            kills.job_s = forks.finish(*job, place)  # the machine may be busier now or less
            visible += 1
            published.check(visible=visible)
            assert [path.name for path in place.iterdir()] == [name]
            assert not any((place / name).glob(".*"))  # no draft of a killed publisher
    assert kills.stages.keys() == {"before", "half written", "written, not yet visible", "after"}


def test_a_store_in_which_publishers_of_small_files_are_killed(forks: Forks, tmp_path: Path) -> None:
    kill_publishers(forks, ("publish_texts",), tmp_path, name="dice", check=accept, skew=2)


@pytest.fixture(scope="module")
def unkilled(forks: Forks, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("runs") / "unkilled"
    return Finished(folder, (), forks.finish("train", shapes, folder))


def test_a_store_in_which_publishers_of_a_run_are_killed(forks: Forks, unkilled: Finished, tmp_path: Path) -> None:
    job = ("publish_run", unkilled.folder)
    kill_publishers(forks, job, tmp_path, name="shapes", check=check_release, skew=1)


def stage_of_killed(out: Path, earlier: dict[str, Identity], *, pid: int) -> str:
    """Tell by what is on disk where a training was, given what its files were before it."""
    if any(out.glob(f".rendersight-draft-*.{pid}")):
        return "within a write"
    if not (out / LAST).exists():
        return "before the first checkpoint"
    if len(read_metrics(out)) > epochs_done(out):
        return "between an epoch's figures and its checkpoint"
    return "before a write" if earlier == identities(out) else "after a write"


def identities(out: Path) -> dict[str, Identity]:
    """Return what differs after a file was replaced, of each file of a run; None of a missing one."""
    there = {path.name: path.stat() for path in out.glob("*")}
    return {name: (there[name].st_ino, there[name].st_mtime_ns) if name in there else None for name in RUN_FILES}


def epochs_done(out: Path) -> int:
    return int(torch.load(out / LAST, weights_only=True)["progress"]["epoch"]) if (out / LAST).exists() else 0


def check_run_folder(out: Path) -> None:
    """Make sure that all files there can be read and agree."""
    there = {path.name for path in out.glob("[!.]*")} - {PLOTS, SCALARS}
    assert there <= {*RUN_FILES}
    if LAST in there:
        assert {RUN, TRAIN_LIST, HOLD_OUT_LIST} <= there
    if RUN in there:
        assert RunRecord.read(out).config == CONFIG
    for name in {TRAIN_LIST, HOLD_OUT_LIST} & there:
        assert len(read_names(out / name)) == {TRAIN_LIST: 7, HOLD_OUT_LIST: 3}[name]
    logged = [line["epoch"] for line in read_metrics(out)]
    assert logged == [*range(1, len(logged) + 1)]
    assert len(logged) - epochs_done(out) in {0, 1}
    if BEST in there:
        assert read_state_dict(out / BEST)
    assert BEST in there or not logged


def check_same(out: Path, whole: Path) -> None:
    """Make sure that a run gave what another one gave, and left nothing else."""
    assert {path.name for path in out.iterdir()} - {SCALARS} == {*RUN_FILES, PLOTS}
    assert figures(out) == figures(whole)
    assert_equal(read_state_dict(out / BEST), read_state_dict(whole / BEST))
    last, expected = (torch.load(folder / LAST, weights_only=True) for folder in (out, whole))
    assert last["progress"] == expected["progress"]
    for part in ("network", "average"):
        assert_equal(last[part], expected[part])
    for path in (out / PLOTS).iterdir():
        Image.open(path).load()


def assert_equal(tensors: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert tensors.keys() == expected.keys()
    assert [name for name, tensor in tensors.items() if not torch.equal(tensor, expected[name])] == []


def test_a_run_that_is_killed_again_and_again(forks: Forks, shapes: Path, unkilled: Finished, tmp_path: Path) -> None:
    """When it is done it holds what the one that nobody killed holds."""
    out = tmp_path / "killed"
    moments = Kills(unkilled.seconds, skew=2)
    while moments.stages.total() < KILLS:
        earlier = identities(out)
        pid = forks.kill("train", shapes, out, after_s=moments.draw())
        with moments.told():
            moments.stages[stage_of_killed(out, earlier, pid=pid)] += 1
            check_run_folder(out)
            if epochs_done(out) == CONFIG.epochs or moments.stages.total() == KILLS:
                forks.finish("train", shapes, out)
                check_same(out, unkilled.folder)
                shutil.rmtree(out)
                moments.job_s = forks.finish("train", shapes, out)  # the machine may be busier now or less
                shutil.rmtree(out)
    assert {stage.partition(" ")[0] for stage in moments.stages} >= {"before", "within", "after"}
