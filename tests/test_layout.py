"""The four packages import in one direction, and the leaf needs neither torch nor FastAPI."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import rendersight

ROOT = Path(__file__).parents[1]
PACKAGES = ("rendersight", "model_store", "app", "training")

# package -> what its modules may not import
FORBIDDEN = {
    "rendersight": {"model_store", "app", "training", "torch", "torchvision", "fastapi", "starlette", "pydantic"},
    "model_store": {"app", "training", "fastapi", "starlette"},
    "app": {"training"},
    "training": {"app", "fastapi", "starlette"},
}
# a part of the service imports none that stands after it
APP_LAYERS = ("observability", "inference", "http", "dependencies", "openapi", "routes", "main", "server")

# the folders and modules of training: each imports only those after it
TRAINING = (
    "__main__", "cli", "commands", "make", "adapting", "releasing", "learning", "reports", "measuring", "synthetic",
    "data", "records", "stopping", "console", "time_left", "torchrun", "config", "presets", "seeds", "errors",
)  # fmt: skip
MOST_MODULES = 17

# every module of these folders has a test file of its name, or is covered by another one because it
# - only declares errors or data, or
# - is a step of something larger, which is tested as a whole
MIRRORED = ("model_store", "training/learning", "training/measuring", "training/records", "training/releasing")
TESTED_WITH = {
    "model_store/errors.py": "model_store/test_store.py",
    "model_store/engines/graph_nodes.py": "model_store/engines/test_graphs.py",
    "model_store/model_info.py": "model_store/test_detector.py",
    "model_store/network.py": "model_store/test_detector.py",
    "training/learning/network.py": "training/learning/test_run.py",
    "training/learning/trainer.py": "training/learning/test_run.py",
    "training/measuring/prediction.py": "training/test_cli.py",
    "training/records/loading.py": "training/releasing/test_publish.py",
    "training/releasing/onnx_nodes.py": "training/releasing/test_onnx_graph.py",
    "training/releasing/onnx_quantise.py": "training/releasing/test_export.py",
    "training/releasing/quantise.py": "training/releasing/test_accelerate.py",
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(source: str) -> Iterator[str]:
    """Yield the top-level packages that a module imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            yield node.module.partition(".")[0]
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("__import__", "import_module", "importlib.import_module")
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value).partition(".")[0]


def test_the_search_sees_every_way_to_import() -> None:
    source = """
import torch.nn as nn, numpy
from app.main import create_app
from . import sibling
def later():
    from training.learning import loop
    importlib.import_module("fastapi.testclient")
"""
    assert set(imported(source)) == {"torch", "numpy", "app", "training", "fastapi"}


def test_rendersight_and_model_store_are_there_to_be_checked() -> None:
    assert len(modules("rendersight")) >= 6
    assert len(modules("model_store")) >= 9


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    wrong = {
        path.relative_to(ROOT).as_posix(): sorted(found)
        for path in modules(package)
        if (found := FORBIDDEN[package] & set(imported(path.read_text("utf-8"))))
    }
    assert wrong == {}


@pytest.mark.parametrize("layer", APP_LAYERS)
def test_parts_of_the_service_import_one_way(layer: str) -> None:
    inside = modules(f"app/{layer}") or [ROOT / "app" / f"{layer}.py"]
    later = set(APP_LAYERS[APP_LAYERS.index(layer) + 1 :])
    wrong = {
        path.relative_to(ROOT).as_posix(): sorted(found)
        for path in inside
        if (found := later & set(re.findall(r"^ *(?:from|import) app\.(\w+)", path.read_text("utf-8"), re.MULTILINE)))
    }
    assert wrong == {}


def part_of_training(module: Path) -> str:
    return module.relative_to(ROOT / "training").parts[0].removesuffix(".py")


def imported_parts_of_training(source: str) -> Iterator[str]:
    """Yield the folders and modules of training that a module imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("training."))


def test_the_search_sees_the_parts_of_training() -> None:
    source = """
import training.seeds
from training import config, learning
def later():
    from training.data.split import split
"""
    assert set(imported_parts_of_training(source)) == {"seeds", "config", "learning", "data"}


def test_the_folders_of_training_import_one_way() -> None:
    found = {part_of_training(path) for path in modules("training")} - {"__init__"}
    assert found == set(TRAINING)
    wrong = {}
    for path in modules("training"):
        part = part_of_training(path)
        allowed = TRAINING[TRAINING.index(part) :] if part != "__init__" else ()
        if back := set(imported_parts_of_training(path.read_text("utf-8"))) - set(allowed):
            wrong[path.relative_to(ROOT).as_posix()] = sorted(back)
    assert wrong == {}


def test_no_folder_of_training_is_crowded() -> None:
    counts = Counter(path.parent for path in modules("training") if path.name != "__init__.py")
    assert max(counts.values()) <= MOST_MODULES


def test_every_module_has_its_test_file() -> None:
    without = set()
    for module in (path for folder in MIRRORED for path in modules(folder) if path.name != "__init__.py"):
        relative = module.relative_to(ROOT)
        if not (ROOT / "tests" / relative.with_name(f"test_{relative.name}")).is_file():
            without.add(relative.as_posix())
    assert without == set(TESTED_WITH)
    assert all((ROOT / "tests" / path).is_file() for path in TESTED_WITH.values())


def loaded_after(*statements: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after some statements."""
    program = "; ".join((*statements, "import sys", "print(*{name.partition('.')[0] for name in sys.modules})"))
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_one_package_knows_the_annotation_formats() -> None:
    keys = re.compile(r"""["'](imagePath|imageData|shape_type|category_id|bndbox)["']""")
    found = {
        path.relative_to(ROOT).as_posix()
        for package in (*PACKAGES, "deploy", "benchmarks")
        for path in modules(package)
        if "annotations" not in path.parts and keys.search(path.read_text("utf-8"))
    }
    assert found == {"app/openapi/detection.py"}  # the example of an answer


def test_importing_rendersight_loads_neither_torch_nor_a_web_framework() -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in modules("rendersight")
    ]
    loaded = loaded_after(*(f"import {name}" for name in names))
    assert "PIL" in loaded
    assert loaded & {"torch", "torchvision", "fastapi", "starlette", "pydantic"} == set()
    assert loaded & {"model_store", "app", "training"} == set()


def test_a_part_of_rendersight_loads_no_http_client() -> None:
    loaded = loaded_after("import rendersight.images, rendersight.annotations.dataset, rendersight.drawing")
    assert "PIL" in loaded
    assert loaded & {"httpx", "tqdm"} == set()


def test_the_client_is_imported_when_it_is_asked_for() -> None:
    loaded = loaded_after("from rendersight import Client, AsyncClient, RendersightError", "Client()")
    assert "httpx" in loaded
    assert loaded & {"torch", "torchvision", "fastapi", "starlette", "pydantic", "tqdm"} == set()
    assert loaded & {"model_store", "app", "training"} == set()


def test_rendersight_names_what_it_exports() -> None:
    assert {"Client", "AsyncClient", "RendersightError"} == set(rendersight.__all__) <= set(dir(rendersight))
    with pytest.raises(AttributeError, match="module 'rendersight' has no attribute 'Cleint'"):
        _ = rendersight.Cleint


def test_looking_into_a_store_needs_no_torch() -> None:
    loaded = loaded_after("import model_store.store, model_store.manifest, model_store.golden, model_store.engines")
    assert "model_store" in loaded
    assert loaded & {"torch", "torchvision"} == set()


def test_nothing_is_committed_that_git_ignores() -> None:
    found = subprocess.run(
        ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.splitlines() == []
