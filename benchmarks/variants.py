"""Distinguishable copies of a release: every second version reports slightly smaller boxes."""

import json
import shutil
from pathlib import Path

import openvino as ov
from openvino import opset15 as op

from model_store import store
from model_store.manifest import FILE_NAME

SHRUNK = 0.996
"""Scale of the coordinates of every second version, and of those that its golden images expect."""

_HEAD = Path("engines/openvino-int8")


def publish(source: store.Release, root: Path) -> store.Release:
    """Publish a copy of a release that has an int8 engine as the next version of its name in another store."""

    def fill(folder: Path, version: int) -> None:
        shutil.copytree(source.folder, folder, dirs_exist_ok=True)
        manifest = json.loads((folder / FILE_NAME).read_text())
        manifest["version"] = version
        if is_shrunk(version):
            _shrink(folder / _HEAD)
            for path in (_HEAD / "head.xml", _HEAD / "head.bin"):
                manifest["files"][path.as_posix()] = store.sha256_of(folder / path)
            for expected in (item for image in manifest["golden"] for item in image["expected"]):
                expected["box_xyxy"] = [SHRUNK * value for value in expected["box_xyxy"]]
        (folder / FILE_NAME).write_text(json.dumps(manifest))

    return store.publish(root, source.manifest.name, fill, lambda _: None)


def is_shrunk(version: int) -> bool:
    """Return whether a version reports smaller boxes."""
    return version % 2 == 0


def _shrink(folder: Path) -> None:
    graph = ov.Core().read_model(folder / "head.xml")
    boxes = next(result for result in graph.get_results() if "boxes" in result.input(0).get_tensor().get_names())
    source = boxes.input(0).get_source_output()
    names = source.get_names()
    source.get_tensor().set_names(set())
    scaled = op.multiply(source, op.constant(SHRUNK, ov.Type.f32))
    scaled.output(0).get_tensor().set_names(names)
    boxes.input(0).replace_source_output(scaled.output(0))
    graph.validate_nodes_and_infer_types()
    ov.save_model(graph, folder / "head.xml.new.xml", compress_to_fp16=False)
    (folder / "head.xml.new.xml").rename(folder / "head.xml")
    (folder / "head.xml.new.bin").rename(folder / "head.bin")
