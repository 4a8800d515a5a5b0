"""The Makefile's targets that have a rule of their own, run by make itself."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def make(folder: Path, *arguments: str, **environment: str) -> str:
    """Run make in a folder, without the settings of this shell, and return what it prints."""
    kept = {name: value for name, value in os.environ.items() if name not in ("HOST", "PORT")}
    kept = {name: value for name, value in kept.items() if not name.startswith(("RENDERSIGHT_", "MAKE"))}
    command = ["make", "--no-print-directory", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=kept | environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile, and an interpreter that prints which address it was given."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "serve.txt").touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "print(*sys.argv[1:], os.environ.get('RENDERSIGHT_HOST'), os.environ.get('RENDERSIGHT_PORT'))\n"
    )
    python.chmod(0o755)
    (tmp_path / ".venv" / "serve.stamp").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "environment", "address"),
    [
        ([], {}, "None None"),  # the service's own defaults
        ([], {"RENDERSIGHT_PORT": "9000"}, "None 9000"),
        ([], {"RENDERSIGHT_HOST": "::1", "PORT": "9000"}, "::1 9000"),
        (["PORT=9000"], {}, "None 9000"),
        (["PORT=9000", "HOST=::1"], {"RENDERSIGHT_PORT": "9001", "RENDERSIGHT_HOST": "127.0.0.1"}, "::1 9000"),
    ],
)
def test_serve_listens_where_it_is_told(
    checkout: Path, arguments: list[str], environment: dict[str, str], address: str
) -> None:
    assert make(checkout, "serve", *arguments, **environment).split("\n") == [f"-m app {address}", ""]


# what .gitignore lists and a person has made: it stays
MADE = {"dist", "datasets", "runs", "predictions", "model_store/releases/*.*", "model_store/releases/.publishing-*"}


def test_clean_removes_every_environment_and_cache_and_nothing_else(checkout: Path) -> None:
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").splitlines()}
    assert ignored >= MADE
    for pattern in ignored - {"__pycache__"}:
        (checkout / pattern.replace("*", "made") / "folder").mkdir(parents=True)
    for package in re.findall(r"^SOURCES := (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)[0].split():
        (checkout / package / "part" / "__pycache__").mkdir(parents=True)
    (checkout / ".venv-render" / "bin").mkdir(parents=True)
    make(checkout, "clean")
    left = {path.relative_to(checkout).as_posix() for path in checkout.rglob("*") if path.is_dir()}
    kept = {pattern.replace("*", "made") for pattern in MADE}
    assert kept <= left
    assert [path for path in left if re.search(r"venv|cache|hypothesis|schemathesis|egg-info", path)] == []
    make(checkout, "clean")  # nothing is left to remove
