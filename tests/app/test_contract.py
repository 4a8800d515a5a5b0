"""The whole OpenAPI document, held against the service by schemathesis with all its checks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.keys import hash_of
from tests.app.fakes import FixedEngine, app_with
from tests.app.wire import serving

ROOT = Path(__file__).parents[2]

# it asks for 0.1 s of patience, which a busy machine may miss: an answer that is in the document
CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 504]
"""


long = [pytest.mark.long, pytest.mark.timeout(1000)]


@pytest.mark.parametrize(
    ("has_keys", "examples", "left_out"),
    [
        pytest.param(False, 30, "/versions/", id="everyday"),  # a second path of what has one already
        pytest.param(True, 30, "/v2/models/", id="everyday-with-keys"),
        pytest.param(False, 200, "none", marks=long, id="long"),
        pytest.param(True, 200, "none", marks=long, id="long-with-keys"),
    ],
)
def test_the_service_keeps_to_its_document(tmp_path: Path, has_keys: bool, examples: int, left_out: str) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"all detect,metrics,admin {hash_of('rs_all')}")
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    app = app_with(FixedEngine(), model_store=tmp_path, api_keys_file=keys if has_keys else None)
    with serving(app) as port:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{port}/openapi.json"]
        command += ["--checks", "all", "--continue-on-failure", "--seed", "7", "--max-examples", str(examples)]
        command += ["--header", "Authorization: Bearer rs_all"] if has_keys else []
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.app.contract_hooks"}
        command += ["--exclude-path-regex", left_out, "--generation-database", "none", "--no-color"]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=900, cwd=tmp_path, env=environment
        )
    assert done.returncode == 0, done.stdout
    selected = {"none": 16, "/versions/": 13, "/v2/models/": 10}[left_out]
    assert f"{selected} selected / 16 total" in done.stdout
