"""The wheel, built and installed into a fresh environment, holds `rendersight` alone."""

import subprocess
import sys
import sysconfig
from email import message_from_string
from pathlib import Path
from zipfile import ZipFile

import pytest

import rendersight

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out], cwd=ROOT, check=True)
    (built,) = out.glob("*.whl")
    return built


def test_wheel_holds_the_library_and_its_metadata(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        info = f"rendersight-{rendersight.__version__}.dist-info"
        metadata = message_from_string(archive.read(f"{info}/METADATA").decode())
    assert {name.partition("/")[0] for name in names} == {"rendersight", info}
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "rendersight").rglob("*.py")}
    assert {name for name in names if name.startswith("rendersight/")} == {*expected, "rendersight/py.typed"}
    assert metadata["Version"] == rendersight.__version__
    assert {"Homepage", "Documentation"} <= {url.partition(",")[0] for url in metadata.get_all("Project-URL", [])}


def test_installed_wheel_has_the_client_and_the_command(wheel: Path, tmp_path: Path) -> None:
    """The dependencies are those of this environment, which a .pth file adds."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    python = tmp_path / "bin" / "python"
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--no-cache"]
    subprocess.run([*install, "--python", python, wheel], check=True)
    (site,) = tmp_path.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    def output_of(*command: str | Path) -> str:
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    found = output_of(python, "-c", "from rendersight import Client; import rendersight; print(rendersight.__file__)")
    assert Path(found.strip()) == site / "rendersight" / "__init__.py"
    assert output_of(tmp_path / "bin" / "rendersight", "--version") == f"rendersight {rendersight.__version__}\n"
    absent = "from importlib.util import find_spec; print([find_spec(n) for n in ('app', 'training', 'model_store')])"
    assert output_of(python, "-c", absent) == "[None, None, None]\n"
