"""The files for GitHub and pre-commit name commands, versions and folders that exist."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.markdown import blocks, commands_in

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def test_workflow_runs_the_two_commands_of_the_readme() -> None:
    job = loaded(GITHUB / "workflows" / "readme.yml")["jobs"]["commands"]
    run = [line for step in job["steps"] for line in step.get("run", "").splitlines()]
    first = next(block for block in blocks(ROOT / "README.md") if block.language == "sh")
    commands = [command.partition(" #")[0].strip() for command in commands_in(first)]
    assert commands == ["make serve", "make test"]
    assert [command for command in commands if not any(line.startswith(command) for line in run)] == []


def test_workflow_begins_with_the_oldest_supported_python() -> None:
    matrix = loaded(GITHUB / "workflows" / "readme.yml")["jobs"]["commands"]["strategy"]["matrix"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["requires-python"] == f">={matrix['python'][0]}"
    assert {runner.endswith("-arm") for runner in matrix["runner"]} == {False, True}


def test_dependabot_looks_into_folders_with_dependencies() -> None:
    updates = {update["package-ecosystem"]: update for update in loaded(GITHUB / "dependabot.yml")["updates"]}
    assert updates.keys() == {"pip", "github-actions", "docker"}
    assert updates["pip"]["directories"] == ["/", "/requirements"]
    expected = ["pyproject.toml", "requirements/dev.txt", f"{updates['docker']['directory'].strip('/')}Dockerfile"]
    assert [name for name in expected if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("form", sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem)
def test_issue_form_asks_for_something(form: Path) -> None:
    document = loaded(form)
    assert all(document[key] for key in ("name", "description", "body"))
    asked = [part for part in document["body"] if part["type"] != "markdown"]
    assert any(part.get("validations", {}).get("required") for part in asked)
    assert len({part["id"] for part in asked}) == len(asked)


def test_make_targets_in_templates_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = re.findall(r"`make ([a-z-]+)`", (GITHUB / "pull_request_template.md").read_text("utf-8"))
    assert {"test", "reference"} <= set(named) <= targets


def test_pre_commit_checks_what_make_test_checks() -> None:
    hooks = [hook for repo in loaded(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    recipe = (ROOT / "Makefile").read_text("utf-8").partition("\ntest: ")[2].partition("\n\n")[0]
    tools = re.findall(r"\$\(BIN\)/((?:ruff|mypy)(?: (?:check|format))?)", recipe)
    assert [hook["entry"].removeprefix(".venv/bin/") for hook in hooks] == tools
