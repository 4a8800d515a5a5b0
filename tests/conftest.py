"""What tests of several packages share."""

import os
from collections.abc import Iterator

import pytest

# Tests run side by side. An idle thread that spins, as OpenMP's do, takes the core from another test; torch reads this
# when it is imported, here and in the commands that tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small networks and pictures are slower on many threads than on one, all the more where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
