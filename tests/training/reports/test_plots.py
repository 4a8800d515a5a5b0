from pathlib import Path

import numpy as np
import pytest

from training.reports.plots import plot_confusion


@pytest.mark.parametrize("name", ["$\\frac$", "サイコロ", "骰子$"])
def test_draws_any_class_name(name: str, tmp_path: Path) -> None:
    plot_confusion(np.eye(2, dtype=np.int64), [name], tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").stat().st_size > 1000
