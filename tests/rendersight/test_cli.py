"""The console script: its verbs, what their help imports, and how it ends."""

import signal
import socket
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from rendersight import __version__, cli
from rendersight.cli import PROGRAM, main
from tests.command_lines import SLOW, help_of

ROOT = Path(cli.__file__).parents[1]


def test_help_lists_verbs_and_imports_none() -> None:
    shown, packages = help_of("rendersight.cli")
    assert packages & SLOW == set()
    assert [name for name in PROGRAM.verbs if f"\n    {name}" not in shown] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "rendersight: error: argument VERB: invalid choice: 'fly' (choose from"),
        (["completion", "csh"], "rendersight completion: error: argument shell: invalid choice: 'csh' (choose from"),
        (["detect"], "rendersight detect: error: the following arguments are required: photos"),
    ],
)
def test_rejects_wrong_command_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_names_missing_package() -> None:
    code = "import sys; sys.modules['shtab'] = None; from rendersight.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "completion", "bash"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "rendersight: the package shtab is not installed; run pip install rendersight\n"


def test_ctrl_c_ends_with_130_and_one_line() -> None:
    photo = str(ROOT / "examples" / "dice-1.jpg")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "rendersight", "detect", photo, "--url", url]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            connection, _ = silent.accept()
            with connection:  # it waits for an answer now
                running.send_signal(signal.SIGINT)
                out, err = running.communicate(timeout=30)
    assert (running.returncode, out, err) == (130, "", "rendersight: stopped\n")


def test_runs_as_script_and_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, function = project["scripts"]["rendersight"].partition(":")
    assert getattr(import_module(module), function) is main
    done = subprocess.run(
        [sys.executable, "-m", "rendersight", "fly"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("usage: rendersight [")


def test_prints_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"rendersight {__version__}\n"


def test_package_takes_its_version_from_the_module() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" not in document["project"]
    assert "version" in document["project"]["dynamic"]
    read_from = ROOT / document["tool"]["hatch"]["version"]["path"]
    assert f'\n__version__ = "{__version__}"\n' in read_from.read_text("utf-8")
