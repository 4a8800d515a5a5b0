"""A place like a checkout, in which the docs' commands are run as they stand, without touching the repository."""

import json
import shutil
import sys
from pathlib import Path

import torch
from PIL import Image

from model_store import architectures
from rendersight.annotations.writing import copy_image
from tests.docs.markdown import ROOT
from tests.training.conftest import draw_dataset
from tests.training.fake_blender import CONFIG, fake
from training.data.conversion import convert

_AS_THEY_ARE = ("app", "training", "rendersight", "benchmarks", "requirements", "deploy")
_FILES = ("Makefile", "pyproject.toml", "docker-compose.yml", "LICENSE")
TINY_PRESET = "tiny.toml"
STORE = Path("model_store") / "releases"


def checkout(folder: Path) -> Path:
    """Lay out the code, the environment and what a reader of the docs has beside them.

    A reader has photos of their own (PHOTOS, OTHER_PHOTOS, REAL_PHOTOS, photo.jpg, another.png and others), a 3D model
    (my_object.glb) and a state dict (Dragon_Model.tar). The code is linked to, what commands write is not.
    """
    folder.mkdir()
    for name in (*_AS_THEY_ARE, *_FILES):
        (folder / name).symlink_to(ROOT / name)
    (folder / "docs").mkdir()  # `make reference` writes into it
    _environment(folder)
    _store(folder)
    for name, count in (("examples", 2), ("PHOTOS", 4), ("OTHER_PHOTOS", 1)):
        _photos(folder / name, ROOT / "examples", count)
    convert(folder / "PHOTOS", folder / "roboflow", "yolo", place_image=copy_image)
    shutil.copy(ROOT / "examples" / "pawn.obj", folder / "examples")
    _photos(folder / "RENDERS", ROOT / "docs" / "renders", 1)
    _dragons(folder / "REAL_PHOTOS")
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        shutil.copy(ROOT / "examples" / "dice-1.jpg", folder / name)
    Image.open(ROOT / "examples" / "dice-2.jpg").save(folder / "another.png")
    shutil.copy(ROOT / "examples" / "pawn.obj", folder / "my_object.glb")  # Blender's stand-in does not read it
    torch.manual_seed(0)
    network = architectures.build("fasterrcnn_mobilenet_v2_fpn", class_count=1)
    torch.save(network.state_dict(), folder / "Dragon_Model.tar")
    values = {**CONFIG.model_dump(mode="json", exclude_defaults=True), "hold_out": 2}
    (folder / TINY_PRESET).write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    return folder


def _environment(folder: Path) -> None:
    """Link to the environment of this process, as if make had installed it, and put a stand-in in Blender's place."""
    (folder / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (folder / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    for name in ("serve.stamp", "dev.stamp"):
        (folder / ".venv" / name).touch()
    rendering = folder / ".venv-render"
    fake(rendering / "bin").rename(rendering / "bin" / "python")
    (rendering / "stamp").touch()


def _store(folder: Path) -> None:
    (folder / "model_store").mkdir()
    for path in (ROOT / "model_store").iterdir():
        if path.name != "releases":
            (folder / "model_store" / path.name).symlink_to(path)
    for release in (ROOT / STORE).glob("*/*/"):
        link = folder / release.relative_to(ROOT)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(release)


def _photos(folder: Path, source: Path, count: int) -> None:
    folder.mkdir()
    for photo in sorted(source.glob("*.jpg"))[:count]:
        shutil.copy(photo, folder)
        shutil.copy(photo.with_suffix(".json"), folder)


def _dragons(folder: Path) -> None:
    for path in draw_dataset(folder, count=4).glob("*.json"):
        document = json.loads(path.read_text())
        for shape in document["shapes"]:
            shape["label"] = "dragon"
        path.write_text(json.dumps(document))
