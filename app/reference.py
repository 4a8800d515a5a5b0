"""Write the reference pages docs/api.md and docs/settings.md from the code: `python -m app.reference docs`.

The HTTP API comes from the service's OpenAPI document, the settings come from `Settings`. No model is loaded.
"""

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from app.errors import ServiceError
from app.http.keys import Keys
from app.http.problems import type_of
from app.main import create_app
from app.settings import PREFIX, Settings, accepted, variable

_ROOT = Path(__file__).parent.parent
_HTTP = "http://127.0.0.1:8000"
_NOTICE = "<!-- Written by `python -m app.reference docs`; a change here is lost. -->"

_INFERENCE = f"""\
curl --json '{{"inputs": [{{"name": "images", "shape": [1], "datatype": "BYTES", "data": ["' \\
  --json @<(base64 -w0 photo.jpg) --json '"]}}]}}' \\
  {_HTTP}/v2/models/dice"""

EXAMPLES: dict[str, str] = {
    "POST /detect": f"""\
curl -F image=@photo.jpg '{_HTTP}/detect?score_threshold=0.7&labels=five&labels=six'
curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' {_HTTP}/detect
curl -F image=@photo.jpg '{_HTTP}/detect?format=png' -o boxes.png
curl -F image=@photo.jpg -H 'Accept: text/csv' '{_HTTP}/detect?iou_threshold=0.3&class_agnostic=true'
curl -F image=@photo.jpg -H 'X-Request-Timeout: 5' '{_HTTP}/detect?format=labelme' -o photo.json""",
    "POST /detect/batch": f"curl --no-buffer -F image=@photo.jpg -F image=@another.png '{_HTTP}/detect/batch'",
    "GET /v2": f"curl {_HTTP}/v2",
    "GET /v2/health/live": f"curl {_HTTP}/v2/health/live",
    "GET /v2/health/ready": f"curl {_HTTP}/v2/health/ready",
    "GET /v2/models/{model_name}": f"curl {_HTTP}/v2/models/dice",
    "GET /v2/models/{model_name}/versions/{model_version}": f"curl {_HTTP}/v2/models/dice/versions/6",
    "GET /v2/models/{model_name}/ready": f"curl {_HTTP}/v2/models/dice/ready",
    "GET /v2/models/{model_name}/versions/{model_version}/ready": f"curl {_HTTP}/v2/models/dice/versions/6/ready",
    "POST /v2/models/{model_name}/infer": f"{_INFERENCE}/infer",
    "POST /v2/models/{model_name}/versions/{model_version}/infer": f"{_INFERENCE}/versions/6/infer",
    "GET /models": f"curl {_HTTP}/models",
    "POST /models/reload": f'curl -X POST -H "Authorization: Bearer $ADMIN_KEY" {_HTTP}/models/reload',
    "GET /livez": f"curl {_HTTP}/livez",
    "GET /readyz": f"curl {_HTTP}/readyz",
    "GET /metrics": f"curl {_HTTP}/metrics",
}
"""Method and path -> example command lines. A test runs them unchanged."""

_HEADERS = """\
## Headers

| of | header | what it says |
|---|---|---|
| a request | `Authorization: Bearer KEY` | The API key, where there are [keys](../SECURITY.md#keys). |
| a request | `X-Request-ID` | Your own id for the request; without one the service makes one. |
| a request | `traceparent` | A W3C trace context; its ids stand in the log. |
| every answer | `X-Request-ID` | The request's id. |
| every answer | `Server-Timing` | Milliseconds by stage: queue, decode, inference, encode, total. |
| a 503 or 504 that may pass | `Retry-After` | When to ask again, in whole seconds. |
| a 401 | `WWW-Authenticate: Bearer` | What is missing. |
| a 405 | `Allow` | Which methods the path has. |
| a file that is no JSON answer | `Content-Disposition` | A name for it: the photo's, with another suffix. |

`HEAD` is answered wherever `GET` is. Beside the endpoints above there are `/openapi.json`, the document that this page
is made from, `/docs`, where it can be tried, and `/`, for a browser, whose example pictures `/examples` lists.
"""


_SETTINGS = f"""\
# Settings

{_NOTICE}

Environment variables, all with the prefix `{PREFIX}`; one that is empty counts as unset, an unknown one ends the
start. `python -m app --help` lists them too. With `docker compose up` they are those of the shell, or of a file `.env`.
"""


def api_page() -> str:
    """Return docs/api.md."""
    app = create_app(Settings.model_construct())  # the defaults, without reading the environment
    app.state.keys = Keys()  # with keys, the document names the scopes
    document = app.openapi()
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    sections = [
        f"# HTTP API\n\n{_NOTICE}",
        document["info"]["description"].strip(),
        "Keys are asked for where the service has some; `POST /models/reload` always takes one. Limits that are\n"
        "settings are in [settings.md](settings.md), what happens at them is in [reliability.md](reliability.md).",
        "\n".join(_overview(operations)),
        *("\n".join(_operation(name, operation, document)) for name, operation in operations),
        _HEADERS.strip(),
        "\n".join(_problems()),
        "\n".join(_schemas(document["components"]["schemas"])),
    ]
    return "\n\n".join(sections) + "\n"


def settings_page() -> str:
    """Return docs/settings.md."""
    rows = (
        _row(f"`{variable(name).removeprefix(PREFIX)}`", _default(field.default), accepted(field), field.description)
        for name, field in Settings.model_fields.items()
    )
    return "\n".join(
        (_SETTINGS, _row("variable", "default", "accepted", "what it does"), "|---|---|---|---|", *rows, "")
    )


PAGES = {"api.md": api_page, "settings.md": settings_page}
"""Name of the page -> function that returns its text."""


def _default(value: Any) -> str:
    if value in (None, ()):
        return "unset"
    if isinstance(value, Path) and value.is_relative_to(_ROOT):
        value = value.relative_to(_ROOT)
    return f"`{value}`"


def _row(*cells: str | None) -> str:
    return "| " + " | ".join((cell or "").replace("|", r"\|") for cell in cells) + " |"


def _overview(operations: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    yield _row("endpoint", "what for", "scope of the key")
    yield "|---|---|---|"
    for name, operation in operations:
        anchor = re.sub(r"[^\w-]", "", name.lower().replace(" ", "-"))
        scope = re.search(r"scope (`\w+`)", operation["description"])
        yield _row(f"[`{name}`](#{anchor})", operation["summary"], scope[1] if scope else "none")


def _operation(name: str, operation: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    yield f"## {name}\n\n{operation['description']}\n\n```sh\n{EXAMPLES[name]}\n```"
    if parameters := operation.get("parameters"):
        yield "\n| parameter | in | accepted | default | what it does |\n|---|---|---|---|---|"
        for one in parameters:
            default = one["schema"].get("default")
            shown = f"`{json.dumps(default)}`" if default not in (None, []) else ""
            yield _row(f"`{one['name']}`", one["in"], in_words(one["schema"]), shown, one["description"])
    if body := operation.get("requestBody"):
        yield f"\n{textwrap.fill('The body: ' + body['description'], 120)}\n\n| Content-Type | the body |\n|---|---|"
        by_kind: dict[str, list[str]] = {}
        for media_type, content in body["content"].items():
            by_kind.setdefault(in_words(content["schema"]), []).append(f"`{media_type}`")
        for kind, media_types in by_kind.items():
            yield _row(", ".join(media_types), kind)
    yield "\n| answer | media type | body |\n|---|---|---|"
    for status, answer in operation["responses"].items():
        for media_type, content in answer["content"].items():
            slugs = ", ".join(f"[`{slug}`](#problems)" for slug in content.get("examples", {}))
            yield _row(status, f"`{media_type}`", slugs or in_words(content["schema"]))
    for media_type, content in operation["responses"]["200"]["content"].items():
        yield from _example(media_type, content, document["components"]["schemas"])


def _example(media_type: str, content: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    """Yield the example of an answer if the document has one."""
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    example = content.get("example") or next(iter(schemas.get(name, {}).get("examples", [])), None)
    if isinstance(example, str):
        lines = "\n".join(example.splitlines())
        yield f"\n`{media_type}`:\n\n```text\n{lines}\n```"
    elif example is not None:
        members = ",\n".join(f" {json.dumps(member)}: {json.dumps(value)}" for member, value in example.items())
        yield f"\n`{media_type}`:\n\n```json\n{{\n{members}\n}}\n```"


def _problems() -> Iterator[str]:
    yield (
        "## Problems\n\nErrors are `application/problem+json` with the members of [Problem](#problem). `type` is one\n"
        "of these, or `about:blank` for a path (404) or a method (405) that does not exist.\n"
    )
    yield _row("type", "status", "what is wrong", "such as")
    yield "|---|---|---|---|"
    for error in ServiceError.__subclasses__():
        meaning = re.sub(r"`Settings\.(\w+)`", lambda match: f"`{match[1].upper()}`", error.__doc__ or "")
        yield _row(f"`{type_of(error)}`", str(error.status), meaning, error.example)


def _schemas(schemas: dict[str, Any]) -> Iterator[str]:
    yield "## Bodies in JSON"
    for name, schema in schemas.items():
        yield f"\n### {name}\n\n{schema['description']}\n\n| member | what it is | meaning |\n|---|---|---|"
        required = schema.get("required", [])
        for member, field in schema["properties"].items():
            mark = "" if member in required else ", may be absent"
            yield _row(f"`{member}`", in_words(field) + mark, field.get("description"))


def in_words(schema: dict[str, Any]) -> str:
    """Return a description of the values that a JSON schema accepts."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(in_words(one) for one in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    return _KINDS[schema["type"]](schema)


def _number(word: str, schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{word} from {low:g} to {high:g}"
    return word if low is None else f"{word} from {low:g} on"


def _array(schema: dict[str, Any]) -> str:
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])}, each {in_words(schema['prefixItems'][0])}"
    most = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
    return f"list, each {in_words(schema['items'])}{most}"


def _object(schema: dict[str, Any]) -> str:
    if isinstance(values := schema.get("additionalProperties"), dict):
        return f"object, name -> {in_words(values)}"
    if "properties" in schema:
        return "form with " + ", ".join(f"`{name}` ({in_words(field)})" for name, field in schema["properties"].items())
    return "object with " + ", ".join(f"`{name}`" for name in schema["required"])


_KINDS = {
    "number": lambda schema: _number("number", schema),
    "integer": lambda schema: _number("whole number", schema),
    "string": lambda schema: {
        "binary": "an image",
        "byte": "an image in base64",
        "date-time": "time",
        "tensors": "JSON, then the bytes of tensors",
    }.get(schema.get("format", ""), "text"),
    "boolean": lambda _: "`true`, `false`",
    "null": lambda _: "null",
    "array": _array,
    "object": _object,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages into a folder. Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m app.reference", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the pages are, docs")
    folder: Path = parser.parse_args(arguments).folder
    if not folder.is_dir():
        parser.error(f"argument folder: {folder} is no folder")
    for name, written in {name: page() for name, page in PAGES.items()}.items():
        (folder / name).write_text(written, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
