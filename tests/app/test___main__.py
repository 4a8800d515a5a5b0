import os
import subprocess
import sys
from pathlib import Path

import pytest

from app import __main__
from app.__main__ import main
from app.settings import Settings, variable
from tests.command_lines import help_of

ROOT = Path(__main__.__file__).parent.parent


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RENDERSIGHT_PORT": "eighty"}, "RENDERSIGHT_PORT='eighty' is not accepted; accepted: a whole number"),
        ({"RENDERSIGHT_MODEL": "none"}, "no release 'none' in "),
    ],
)
def test_failed_start_prints_one_line(variables: dict[str, str], message: str) -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "error", **variables}
    command = [sys.executable, "-m", "app"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"rendersight: {message}")


def test_torch_is_imported_without_a_temporary_folder() -> None:
    """Takes seconds: a process imports torch, which asks for the folder while it is imported."""
    program = """
import tempfile
def refuse(): raise FileNotFoundError(2, "No usable temporary directory found")
tempfile._get_default_tempdir = refuse
from app.__main__ import main
assert main([]) == 2
import torchvision
"""
    environment = {**os.environ, "RENDERSIGHT_MODEL": "nowhere"}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, timeout=60)


def test_rejects_unknown_setting(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RENDERSIGHT_TRESHOLD", "0.5")
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("rendersight: RENDERSIGHT_TRESHOLD='0.5' is not a setting; ")


def test_rejects_unknown_argument(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--port", "80"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --port 80" in capsys.readouterr().err


def test_help_names_every_setting_and_imports_no_server() -> None:
    shown, packages = help_of("app.__main__")
    assert packages & {"torch", "fastapi", "uvicorn", "PIL", "openvino"} == set()
    text = " ".join(shown.split())
    for name, field in Settings.model_fields.items():
        assert f"{variable(name)} {field.description} Accepted: " in text


def test_names_missing_package() -> None:
    code = "import sys; sys.modules['uvicorn'] = None; from app.__main__ import main; sys.exit(main([]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("rendersight: the package uvicorn is not installed; run make .venv/serve.stamp")
