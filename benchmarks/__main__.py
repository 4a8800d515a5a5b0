"""All figures of docs/performance.md: `python -m benchmarks`, or `make bench`."""

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.servers import ROOT


def _run(*words: str) -> None:
    print(f"\n$ python -m {' '.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", *words], cwd=ROOT, check=True)  # noqa: S603


def main() -> None:
    """Run all benchmarks, one after the other."""
    _run("benchmarks.serving")
    _run("benchmarks.costs")
    _run("benchmarks.decoding")
    with tempfile.TemporaryDirectory() as scratch:
        _run("benchmarks.seeded", scratch)
        weights, release = (str(Path(scratch) / name) for name in ("resnet50.pt", "store/resnet50/2"))
        _run("benchmarks.start", "--model", "dice", weights)
        _run("benchmarks.serving", "--brief", "--model", release, "--engine", "openvino-bf16", "openvino-int8")
    _run("benchmarks.compare")
    _run("benchmarks.curve")


if __name__ == "__main__":
    main()
