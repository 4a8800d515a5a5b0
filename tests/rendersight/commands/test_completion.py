"""A shell that has read the script completes verbs, flags, choices and files."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rendersight import cli
from rendersight.cli import PROGRAM

ROOT = Path(cli.__file__).parents[1]


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "script"
    command = [sys.executable, "-m", "rendersight", "completion", "bash"]
    path.write_bytes(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    return path


def completed(script: Path, *words: str, folder: Path = ROOT) -> set[str]:
    """Return what bash offers for the last of the words, by the function that it calls when Tab is pressed."""
    program = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
function=$(complete -p rendersight | sed -E 's/.*-F ([^ ]+).*/\\1/')
$function rendersight "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", program, "bash", str(script), "rendersight", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.strip() for line in done.stdout.splitlines() if line.strip()}


def test_bash_completes_verbs_flags_choices_and_files(bash_script: Path) -> None:
    assert completed(bash_script, "") >= set(PROGRAM.verbs)
    assert completed(bash_script, "det") == {"detect"}
    assert completed(bash_script, "detect", "--conc") == {"--concurrency"}
    assert completed(bash_script, "detect", "photo.jpg", "--format", "") == {"png", "jpeg", "labelme", "coco", "csv"}
    assert completed(bash_script, "completion", "") >= {"bash", "zsh", "fish"}
    assert completed(bash_script, "detect", "examples/pawn") == {"examples/pawn.obj"}
    assert completed(bash_script, "detect", "--out", "exam") == {"examples"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_every_verb(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert [name for name in PROGRAM.verbs if not re.search(rf"\b{name}\b", script)] == []
    assert "max-detections" in script
