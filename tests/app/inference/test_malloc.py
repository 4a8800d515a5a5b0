import sys
from pathlib import Path

import pytest

from app.inference import malloc


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone is told")
def test_what_was_freed_goes_back() -> None:
    malloc.keep_few_heaps()
    small = [bytes(5000) for _ in range(40_000)]  # 200 MB in pieces that a heap keeps
    held = small[-1]
    before = resident_bytes()
    del small
    malloc.give_back()
    assert resident_bytes() < before - 100_000_000
    assert held == bytes(5000)
