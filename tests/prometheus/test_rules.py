"""Prometheus' own check of deploy/prometheus: the configuration, the alerts, and the tests in which each alert fires.

The tests need promtool and fail without it.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"

pytestmark = pytest.mark.prometheus


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.fail("promtool is not installed; Debian's and Ubuntu's package prometheus has it")
    return subprocess.run([promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("test", "rules", "alerts.test.yml", "drift.test.yml")],
    ids=["configuration and rules", "alerts"],
)
def test_promtool_accepts(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_refuses_alert_that_does_not_fire(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    rules = tmp_path / "alerts.yml"
    rules.write_text(rules.read_text("utf-8").replace("[30m]) >= 3", "[30m]) >= 300"), "utf-8")
    done = run("test", "rules", str(tmp_path / "alerts.test.yml"))
    assert done.returncode == 1
    assert "RendersightRestarts" in done.stdout + done.stderr
