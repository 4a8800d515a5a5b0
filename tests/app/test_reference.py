"""docs/api.md and docs/settings.md are what `python -m app.reference docs` writes today."""

import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest

import app.routes
from app.errors import ServiceError
from app.main import create_app
from app.reference import PAGES, in_words, main
from app.settings import PREFIX, Settings, variable

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_committed_pages_are_current(name: str, tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    assert (DOCS / name).read_text("utf-8") == (tmp_path / name).read_text("utf-8"), "run: make reference"


def test_every_setting_has_a_row_with_its_default() -> None:
    rows = [line.split(" | ") for line in PAGES["settings.md"]().splitlines() if line.startswith("| `")]
    assert [row[0].strip("|` ") for row in rows] == [
        variable(field).removeprefix(PREFIX) for field in Settings.model_fields
    ]
    defaults = {row[0].strip("|` "): row[1] for row in rows}
    assert (defaults["MODEL_STORE"], defaults["LABELS"]) == ("`model_store/releases`", "unset")
    assert (defaults["PORT"], defaults["CORS_ORIGINS"]) == ("`8000`", "unset")


def test_the_environment_does_not_change_the_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: page() for name, page in PAGES.items()}
    monkeypatch.setenv("RENDERSIGHT_PORT", "9000")
    monkeypatch.setenv("RENDERSIGHT_API_KEYS_FILE", "nowhere")
    assert {name: page() for name, page in PAGES.items()} == before


def test_page_has_every_path_and_a_command() -> None:
    page = PAGES["api.md"]()
    document = create_app(Settings()).openapi()
    modules = [import_module(f"app.routes.{found.name}") for found in iter_modules(app.routes.__path__)]
    paths = {"/openapi.json", *(route.path for module in modules for route in module.router.routes)}
    assert {"/", "/docs"} | document["paths"].keys() <= paths
    assert [path for path in paths if f"`{path}`" not in page and f" {path}`" not in page and "{" not in path] == []
    sections = dict(re.findall(r"^## ((?:GET|POST) \S+)\n(.*?)(?=^## )", page, flags=re.DOTALL | re.MULTILINE))
    for path, item in document["paths"].items():
        for method, operation in item.items():
            section = sections[f"{method.upper()} {path}"]
            asked = re.sub(r"\{\w+\}", r"\\w+", path)
            commands = section.replace("\\\n", "")
            assert re.search(rf"```sh\n(curl [^\n]*\n)*curl [^\n]*{asked}\b", commands)
            rows = [f"| `{one['name']}` | {one['in']} |" for one in operation.get("parameters", [])]
            rows += [f"| {status} |" for status in operation["responses"]]
            assert [row for row in rows if row not in section] == []


def test_every_problem_is_on_the_page() -> None:
    page = PAGES["api.md"]()
    rows = [f"| `urn:rendersight:problem:{error.slug}` | {error.status} |" for error in ServiceError.__subclasses__()]
    assert len(rows) > 10
    assert [row for row in rows if row not in page] == []


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "#/components/schemas/Problem"}, "[Problem](#problem)"),
        ({"type": "number", "minimum": 0, "maximum": 1}, "number from 0 to 1"),
        ({"type": "number", "minimum": 0.1}, "number of at least 0.1"),
        ({"type": "integer"}, "whole number"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or null"),
        ({"enum": ["a", "b"], "type": "string"}, "`a`, `b`"),
        ({"const": "ok", "type": "string"}, "`ok`"),
        ({"type": "boolean"}, "`true`, `false`"),
        ({"type": "string", "format": "binary"}, "image file"),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 3}, "list, each text, at most 3"),
        ({"type": "array", "prefixItems": [{"type": "number"}] * 4}, "list of 4, each number"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "object, name -> number"),
        ({"type": "object", "properties": {"image": {"type": "boolean"}}}, "form with `image` (`true`, `false`)"),
        ({"type": "object", "required": ["a", "b"]}, "object with `a`, `b`"),
    ],
)  # fmt: skip
def test_a_schema_is_said_in_words(schema: dict[str, Any], words: str) -> None:
    assert in_words(schema) == words


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "none")])
    assert ended.value.code == 2
    assert "none is not a folder" in capsys.readouterr().err
