"""What Dockerfile, .dockerignore and docker-compose.yml promise, read as text: no container engine is needed."""

import json
import re
from pathlib import Path

from app.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PREFIX = str(Settings.model_config["env_prefix"])
VARIABLES = {PREFIX + field.upper() for field in Settings.model_fields}

# Of the host's side: the value inside the container is fixed, the shell's value decides what is published or mounted.
HOST_SIDE = {PREFIX + "HOST", PREFIX + "MODEL_STORE"}
FIXED = {*HOST_SIDE, PREFIX + "CACHE_DIR"}


def environment() -> dict[str, str]:
    """The variables that the services get, as written in the block they share."""
    block = re.search(r"^  environment: &environment\n((?:    .*\n)+)", COMPOSE, re.MULTILINE)
    assert block
    return dict(re.findall(r"^    (\w+): (.*?)(?: #.*)?$", block[1], re.MULTILINE))


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order: name and arguments, continued lines joined, comments left out."""
    lines = (line for line in DOCKERFILE.splitlines() if line and not line.startswith("#"))
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(name, arguments) for name, _, arguments in (line.partition(" ") for line in joined)]


def test_every_setting_reaches_the_service_and_nothing_else_does() -> None:
    assert set(environment()) == VARIABLES


def test_a_setting_is_passed_on_under_its_own_name() -> None:
    passed = {name: value for name, value in environment().items() if name not in FIXED}
    for name, value in passed.items():
        assert re.fullmatch(rf"\$\{{{name}:-\w*\}}", value), f"{name}: {value}"


def test_what_speaks_of_the_host_is_published_or_mounted() -> None:
    host, port = (Settings.model_fields[name].default for name in ("host", "port"))
    assert f'"${{{PREFIX}HOST:-{host}}}:${{{PREFIX}PORT:-{port}}}:${{{PREFIX}PORT:-{port}}}"' in COMPOSE
    assert f"source: ${{{PREFIX}MODEL_STORE:-./model_store/releases}}\n" in COMPOSE
    assert f"target: {environment()[PREFIX + 'MODEL_STORE']}\n      read_only: true\n" in COMPOSE


def test_the_cache_is_a_volume_that_the_images_user_may_write() -> None:
    assert f"    - cache:{environment()[PREFIX + 'CACHE_DIR']}\n" in COMPOSE
    assert re.search(r"^volumes:\n  cache:", COMPOSE, re.MULTILINE)
    assert ("RUN", "install -d -o 10001 -g 10001 /cache") in instructions()


def test_the_services_share_one_definition() -> None:
    services = COMPOSE[COMPOSE.index("\nservices:\n") :]
    assert re.findall(r"^  ([\w-]+):$", services, re.MULTILINE) == ["detect", "detect-slim", "detect-gpu"]
    assert services.count("    <<: *detect\n") == 3
    assert "profiles:" not in services[: services.index("  detect-slim:")]
    assert "    profiles: [slim]\n" in services
    assert "    profiles: [gpu]\n" in services


def test_the_image_runs_as_a_numbered_user_that_is_not_root() -> None:
    names = [name for name, _ in instructions()]
    user = dict(instructions())["USER"]  # the last one counts
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)  # a number is what runAsNonRoot of Kubernetes can check
    ends = [*[position for position, name in enumerate(names) if name == "FROM"][2:], len(names)]
    assert [names[end - 1] for end in ends] == ["USER", "USER"]  # nothing is done in either image after it


def test_the_image_starts_the_service_without_a_shell() -> None:
    last = dict(instructions())
    assert json.loads(last["CMD"]) == ["python", "-m", "app"]
    assert json.loads(last["HEALTHCHECK"].partition(" CMD ")[2])[:2] == ["python", "-c"]
    assert int(last["EXPOSE"]) == Settings.model_fields["port"].default


def test_the_image_holds_the_three_packages_of_the_service_and_the_examples_alone() -> None:
    copied = {arguments.split()[0] for name, arguments in instructions() if name == "COPY"}
    locks = {f"requirements/{name}" for name in ("install", "serve.txt", "slim.txt")}
    assert copied == {*locks, "LICENSE", "rendersight", "model_store", "app", "examples"}


def test_nothing_but_what_is_copied_is_sent_to_the_builder() -> None:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    allowed = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    assert patterns[0] == "*"
    assert allowed == {arguments.split()[0] for name, arguments in instructions() if name == "COPY"}
    assert patterns.index("model_store/releases") > patterns.index("!model_store")  # the last match decides
