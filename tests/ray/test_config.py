"""The files of deploy/ray match the service; no Ray needed."""

import ast
import os
import re
from pathlib import Path
from typing import Any

import yaml

from app.settings import Settings, read_settings
from deploy.ray import proxy

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "ray"
CONFIG: dict[str, Any] = yaml.safe_load((FOLDER / "config.yaml").read_text("utf-8"))
(APPLICATION,) = CONFIG["applications"]
(DEPLOYMENT,) = APPLICATION["deployments"]


def defined_in_service() -> set[str]:
    tree = ast.parse((FOLDER / "service.py").read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_args_are_settings() -> None:
    settings = read_settings(APPLICATION["args"])
    assert settings == Settings(**APPLICATION["args"])


def test_import_paths_exist() -> None:
    module, _, builder = APPLICATION["import_path"].partition(":")
    assert ROOT.joinpath(*module.split(".")).with_suffix(".py") == FOLDER / "service.py"
    assert {builder, DEPLOYMENT["name"]} <= defined_in_service()
    start = (FOLDER / "start").read_text("utf-8")
    (callback,) = re.findall(r"CALLBACK_IMPORT_PATH=(\S+)", start)
    assert callback == f"{proxy.__name__}.{proxy.middlewares.__name__}"
    assert os.access(FOLDER / "start", os.X_OK)


def test_target_is_twice_the_cores() -> None:
    cores = DEPLOYMENT["ray_actor_options"]["num_cpus"]
    assert DEPLOYMENT["autoscaling_config"]["target_ongoing_requests"] == 2 * cores


def test_listens_on_loopback_only() -> None:
    assert CONFIG["http_options"]["host"] == "127.0.0.1"
    assert "RAY_USAGE_STATS_ENABLED=0" in (FOLDER / "start").read_text("utf-8")
