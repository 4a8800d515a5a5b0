"""Every fenced block says what it is, and every command that no test here runs says who runs it or why nobody does."""

import ast
import json
import re
import shlex
from importlib.util import find_spec

import pytest
import yaml

from rendersight import cli
from tests.docs.markdown import PAGES, ROOT, Block, blocks, commands_in, inline_code
from training.cli import PROGRAM as TRAINING

BLOCKS = [block for page in PAGES for block in blocks(page)]
LANGUAGES = {"sh", "python", "javascript", "json", "yaml", "text"}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

every_block = pytest.mark.parametrize("block", BLOCKS, ids=str)


@every_block
def test_a_block_has_a_language_that_is_known(block: Block) -> None:
    assert block.language in LANGUAGES
    assert block.text.strip()


@every_block
def test_a_marker_is_on_a_command_and_names_tests_that_exist(block: Block) -> None:
    assert not block.marker or block.language in ("sh", "python", "javascript")
    assert not block.marker or block.why_not_run or block.run_by
    for test in block.run_by:
        path, _, name = test.partition("::")
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        assert name in [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)], test
        assert name.startswith("test_")


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.language == "json"], ids=str)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.language == "yaml"], ids=str)
def test_yaml_is_yaml(block: Block) -> None:
    assert yaml.safe_load(block.text)


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.language == "python"], ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


def mentioned() -> list[str]:
    """Return the commands of all blocks, run or not, and those that are mentioned in the text."""
    fenced = [line for block in BLOCKS if block.language == "sh" for line in commands_in(block)]
    return fenced + [code for page in PAGES for code in inline_code(page)]


def test_every_module_that_is_started_exists() -> None:
    names = [match[1] for text in mentioned() if (match := re.search(r"(?:^|/)python -m ([\w.]+)", text))]
    assert {"app", "training", "benchmarks.overload", "app.keys"} <= set(names)
    assert [name for name in names if find_spec(name) is None] == []


def test_every_make_target_exists() -> None:
    called = [
        target
        for text in mentioned()
        if (match := re.fullmatch(r"(?:\w+=\S+ )*make ((?:[a-z.][\w./-]*\s*)+)( \w+=\S+| #.*)*", text))
        for target in match[1].split()
    ]
    assert {"serve", "test", "soak"} <= set(called)
    assert [target for target in called if target not in TARGETS and not target.startswith(".venv/")] == []


def started_with(program: str) -> list[str]:
    """Return what follows a program in the commands of the docs, verb and flags."""
    found = {match[1] for text in mentioned() if (match := re.search(rf"{program} ([^#`|>]+)", text))}
    return sorted(one for one in found if not re.match(r"VERB\b|--help|--version", one))


@pytest.mark.parametrize("command", started_with("python -m training"))
def test_the_flags_of_a_training_command_exist(command: str) -> None:
    words = shlex.split(command)
    TRAINING.parser(words[:1]).parse_args(words)


@pytest.mark.parametrize("command", started_with("(?:^|python -m )rendersight"))
def test_the_flags_of_a_command_of_the_console_script_exist(command: str) -> None:
    words = shlex.split(command)
    assert words[0] in cli.PROGRAM.verbs
    if "--help" not in command:
        cli.PROGRAM.parser(words[:1]).parse_args(words)
