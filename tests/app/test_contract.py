"""The whole OpenAPI document, held against the service by schemathesis with all its checks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.http.keys import hash_of
from tests.app.fakes import FixedEngine, app_with
from tests.app.wire import serving

ROOT = Path(__file__).parents[2]

# schemathesis sends X-Request-Timeout: 0.1, which a busy machine may miss; the document lists that answer
CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 504]
"""

EVERYDAY = ["--phases", "examples,fuzzing", "--max-examples", "2"]
LONG = ["--max-examples", "200"]
long = [pytest.mark.long, pytest.mark.timeout(1000)]


@pytest.mark.parametrize(
    ("has_keys", "flags"),
    [
        pytest.param(True, EVERYDAY, id="everyday"),  # takes 4 s, half of them to import schemathesis
        pytest.param(False, LONG, marks=long, id="long"),
        pytest.param(True, LONG, marks=long, id="long-with-keys"),
    ],
)
def test_service_keeps_to_its_openapi_document(tmp_path: Path, has_keys: bool, flags: list[str]) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"all detect,metrics,admin {hash_of('rs_all')}")
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    app = app_with(FixedEngine(), model_store=tmp_path, api_keys_file=keys if has_keys else None)
    with serving(app) as port:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{port}/openapi.json", *flags]
        command += ["--checks", "all", "--continue-on-failure", "--seed", "7"]
        command += ["--header", "Authorization: Bearer rs_all"] if has_keys else []
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.app.contract_hooks"}
        command += ["--generation-database", "none", "--no-color"]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=900, cwd=tmp_path, env=environment
        )
    assert done.returncode == 0, done.stdout
    assert "16 selected / 16 total" in done.stdout
