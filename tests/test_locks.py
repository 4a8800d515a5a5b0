"""The locks on other systems, wheels alone. It asks the package index, so only `make test-all` runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

REQUIREMENTS = Path(__file__).parents[1] / "requirements"
ARM_2_28, ARM_2_35 = "aarch64-manylinux_2_28", "aarch64-manylinux_2_35"
MAC, WINDOWS = "aarch64-apple-darwin", "x86_64-pc-windows-msvc"
MACOS = "14.0"

# what has no wheel there, as docs/deploy.md says under Systems
GAPS = {
    ("slim", ARM_2_28): {"openvino"},
    ("serve", ARM_2_28): {"openvino"},
    ("dev", ARM_2_28): {"openvino"},
    ("dev", MAC): {"gevent"},
    ("render", ARM_2_28): {"bpy"},
    ("render", ARM_2_35): {"bpy"},
}


def resolve(lock: Path, platform: str, python: str, *flags: str) -> str:
    """Resolve a lock for a system, wheels alone, and return why that is not possible; empty where it is."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--quiet", "--require-hashes"),
            *("--python-platform", platform, "--python-version", python, "--only-binary", ":all:", *flags),
            *("--python", sys.executable, "--target", str(lock.parent / "nowhere"), "-r", str(lock)),
        ],
        env=os.environ | {"MACOSX_DEPLOYMENT_TARGET": MACOS},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert bool(done.returncode) == bool(done.stderr)
    return done.stderr


def missing(text: str, platform: str, python: str, folder: Path) -> set[str]:
    """Return the packages of a lock that have no wheel for a system."""
    lock, found = folder / "lock.txt", set[str]()
    lock.write_text(text, "utf-8")
    while trouble := resolve(lock, platform, python, *(["--no-deps"] if found else [])):
        gap = re.search(r"Because (\S+?)==\S+ has no (usable )?wheels", trouble)
        assert gap, trouble
        found.add(gap[1])
        text = re.sub(rf"^{re.escape(gap[1])}==.*?(?=^\S|\Z)", "", text, flags=re.MULTILINE | re.DOTALL)
        lock.write_text(text, "utf-8")
    return found


@pytest.mark.parametrize("platform", [ARM_2_28, ARM_2_35, MAC, WINDOWS])
@pytest.mark.parametrize(
    ("lock", "pythons"),
    [
        ("slim", ("3.11", "3.12", "3.13", "3.14")),
        ("serve", ("3.11", "3.12", "3.13", "3.14")),
        ("dev", ("3.11",)),  # to train and to test
        ("render", ("3.11",)),  # Blender's module is for that one alone
    ],
)
def test_every_package_of_a_lock_has_a_wheel(
    lock: str, pythons: tuple[str, ...], platform: str, tmp_path: Path
) -> None:
    text = (REQUIREMENTS / f"{lock}.txt").read_text("utf-8")
    gaps = {python: missing(text, platform, python, tmp_path) for python in pythons}
    assert gaps == dict.fromkeys(pythons, GAPS.get((lock, platform), set()))


def test_a_package_that_a_lock_lacks_is_told(tmp_path: Path) -> None:
    """What a lock for Linux alone would look like on Windows."""
    text = (REQUIREMENTS / "slim.txt").read_text("utf-8")
    cut = re.sub(r"^colorama==.*?(?=^\S)", "", text, flags=re.MULTILINE | re.DOTALL)
    assert cut != text
    (tmp_path / "lock.txt").write_text(cut, "utf-8")
    assert "colorama" in resolve(tmp_path / "lock.txt", WINDOWS, "3.11")
    assert resolve(tmp_path / "lock.txt", ARM_2_35, "3.11") == ""
