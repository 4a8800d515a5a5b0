"""The console script: what it hands over to whom, what it imports for that, how it ends."""

import os
import resource
import signal
import socket
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from rendersight import __version__, cli
from rendersight.cli import main, verbs
from training.commands import VERBS

ROOT = Path(cli.__file__).parents[1]
COMMAND = [sys.executable, "-m", "rendersight"]


def run(*arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, **options)


def run_without(package: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    code = (
        f"import sys; sys.modules[{package!r}] = None; from rendersight.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_help_lists_every_verb_and_imports_nothing_for_it() -> None:
    code = (
        "import sys; from rendersight.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: print(end.code, *{name.partition('.')[0] for name in sys.modules})"
    )
    began_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    took_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began_s
    *shown, last = done.stdout.splitlines()
    status, *loaded = last.split()
    assert status == "0"
    assert set(loaded) & {"torch", "numpy", "PIL", "httpx", "fastapi", "pydantic", "tqdm", "shtab", "app"} == set()
    assert took_s < 0.5
    listed = {line.split()[0] for line in shown if line.startswith("  ") and len(line.split()) > 2}
    assert {"detect", "serve", "keys", "completion", *VERBS} <= listed


def test_every_verb_has_its_own_help_under_this_name(capsys: pytest.CaptureFixture[str]) -> None:
    for name in verbs():
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"usage: rendersight {name} [-h]")
        assert len(shown.split("\n\n")[1]) > 20, "it says what it does"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "argument VERB: invalid choice: 'fly' (choose from"),
        (["--fly", "train"], "unrecognized arguments: --fly"),
        (["completion", "csh"], "invalid choice: 'csh' (choose from"),
        (["keys", "a b"], "rendersight keys: error: argument name: 'a b' is not accepted"),
        (["train"], "rendersight train: error: the following arguments are required: --out"),
        (["serve", "--port", "80"], "rendersight serve: error: unrecognized arguments: --port 80"),
        (["detect"], "rendersight detect: error: the following arguments are required: photos"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_no_verb_at_all_is_answered_with_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "rendersight VERB --help" in shown.err


def test_bad_input_of_a_verb_of_training_ends_as_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "nowhere"]) == 2
    told = "nowhere is not a folder of images, nor a COCO .json or a YOLO .yaml file"
    assert capsys.readouterr().err == f"rendersight: {told}\n"


def test_a_key_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "alice"]) == 0
    assert capsys.readouterr().out.startswith("alice detect ")


def test_a_missing_package_is_one_line_that_names_the_extra() -> None:
    for package, arguments, hint in (
        ("fastapi", ["serve"], "pip install 'rendersight[serve]'"),
        ("torch", ["evaluate", "dice", "photos"], "pip install 'rendersight[train]', or make .venv/dev.stamp"),
        ("shtab", ["completion", "bash"], "pip install rendersight"),
    ):
        done = run_without(package, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"rendersight: the package {package} is not installed: {hint}\n"


def test_serve_is_the_service() -> None:
    done = run("serve", env={**os.environ, "RENDERSIGHT_PORT": "eighty"})
    assert done.returncode == 2
    assert done.stderr.startswith("rendersight: RENDERSIGHT_PORT='eighty' is not accepted")


def test_ctrl_c_ends_with_130_and_a_line() -> None:
    photo = str(ROOT / "examples" / "dice-1.jpg")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [*COMMAND, "detect", photo, "--url", url]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            connection, _ = silent.accept()
            with connection:  # it waits for an answer now
                running.send_signal(signal.SIGINT)
                out, err = running.communicate(timeout=30)
    assert (running.returncode, out, err) == (130, "", "rendersight: stopped\n")


def test_it_is_installed_under_its_name_and_runs_as_a_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, function = project["scripts"]["rendersight"].partition(":")
    assert getattr(import_module(module), function) is main
    done = subprocess.run(
        [sys.executable, "-m", "rendersight", "fly"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("usage: rendersight VERB")


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
