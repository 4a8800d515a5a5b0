"""The golden check refuses what is broken and accepts rounding: `dice`, mutated in every known way."""

import pytest

from benchmarks.golden import RENDERS, measure
from model_store import store
from training.data.dataset import read_dataset


@pytest.mark.long
@pytest.mark.timeout(900)
def test_decides_every_mutation_correctly() -> None:
    release = store.find(store.DEFAULT_ROOT, "dice")
    data = read_dataset(RENDERS, class_names=release.manifest.class_names)
    rows = list(measure(release, data, root=store.DEFAULT_ROOT, noise=(0.12,)))
    assert [str(row) for row in rows if row.is_wrong] == []
    assert {row.engine for row in rows if row.must_refuse is False} >= {"torch-fp32", *release.manifest.engines}
    assert sum(row.must_refuse is True for row in rows) >= 8 * 3 + 2
