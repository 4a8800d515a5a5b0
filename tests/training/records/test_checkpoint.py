import resource
from pathlib import Path

import pytest
import torch

from model_store.state_dict import read_state_dict
from training.records.checkpoint import BEST, save_best


def test_full_disk_leaves_the_earlier_checkpoint(tmp_path: Path) -> None:
    save_best(tmp_path, {"weight": torch.ones(1)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match=r"best\.pt could not be written"):
            save_best(tmp_path, {"weight": torch.ones(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == [BEST]
    assert read_state_dict(tmp_path / BEST)["weight"].tolist() == [1.0]
