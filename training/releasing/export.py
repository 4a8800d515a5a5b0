"""Export of a detector as one ONNX file, or as a folder for OpenVINO Model Server."""

import copy
import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import openvino as ov
from torch import nn

import rendersight
from model_store.engines.torch import fold_batch_norms
from model_store.network import LoadedNetwork
from rendersight import atomic
from training.errors import TrainingError
from training.records.run_folder import check_file, check_folder
from training.releasing.onnx_graph import convert
from training.releasing.onnx_quantise import quantised

MOST_BYTES = 2**31 - 2**24
"""Largest weights of one ONNX file: protobuf's 2 GiB, less 16 MiB for the rest of the graph."""

SERVED_FROM = "/models"
"""Folder at which OpenVINO's documentation mounts models into the server's container."""


class ExportError(TrainingError, ValueError):
    """A model that cannot be exported, or not to that place. The message names it and what to do."""


def export_onnx(loaded: LoadedNetwork, path: Path, *, calibration: Sequence[Path] = ()) -> None:
    """Write a detector as one ONNX file, whole or not at all; see `training.releasing.onnx_graph` for its tensors.

    Args:
        loaded: the network, which is not changed.
        path: file that does not exist; missing folders are created.
        calibration: photos or renders to quantise the file to int8 with; none keeps float32.

    Raises:
        ExportError: the file exists, the weights do not fit into one file, or the photos show no object.
        RunError: the file cannot be created there.
        OSError: the file cannot be written, for example because the disk is full.
    """
    check_new(path)
    model = onnx_model(loaded)
    if calibration:
        try:
            model = quantised(model, calibration)
        except ValueError as error:
            raise ExportError(f"the model cannot be quantised: {error}") from error
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, model.SerializeToString())


def export_openvino(loaded: LoadedNetwork, folder: Path) -> None:
    """Write a detector as a model repository of OpenVINO Model Server, whole or not at all.

    The folder holds `config.json` and `NAME/VERSION/model.xml` with `model.bin`, a model repository as in
    https://docs.openvino.ai/latest/ovms_docs_models_repository.html.

    Args:
        loaded: the network, which is not changed.
        folder: folder that does not exist or is empty.

    Raises:
        ExportError: the folder is not empty, or the weights do not fit into one ONNX model, from which it is converted.
        RunError: the folder cannot be created there.
        OSError: a file cannot be written, for example because the disk is full.
    """
    check_new_folder(folder)
    graph = ov.Core().read_model(onnx_model(loaded).SerializeToString())
    for name, text in metadata_of(loaded).items():
        graph.set_rt_info(text, ["model_info", name])
    name = loaded.info.name
    # by default, processors with bfloat16 compute in it, and boxes are off by several px
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    config = {"name": name, "base_path": f"{SERVED_FROM}/{name}", "plugin_config": exact}

    def fill(draft: Path) -> None:
        version = draft / name / (loaded.info.version if loaded.release else "1")
        version.mkdir(parents=True)
        try:
            ov.save_model(graph, version / "model.xml", compress_to_fp16=False)
        except RuntimeError as error:  # OpenVINO does not say why
            raise OSError(errno.EIO, "the graph cannot be written", str(folder)) from error
        (draft / "config.json").write_text(
            json.dumps({"model_config_list": [{"config": config}]}, indent=2) + "\n", "utf-8"
        )

    with _named(folder):
        if not atomic.write_folder(folder, fill):
            raise ExportError(f"{folder} exists; remove it or name another folder")


def check_new(path: Path) -> None:
    """Check that a file can be written and does not exist. Call this before long work.

    Raises:
        ExportError: it exists.
        RunError: it is a folder, or its folder cannot be created or written.
    """
    check_file(path)
    if path.exists():
        raise ExportError(f"{path} exists; remove it or name another file")


def check_new_folder(folder: Path) -> None:
    """Check that a folder can be written and does not exist or is empty. Call this before long work.

    Raises:
        ExportError: it is not empty.
        RunError: it is a file, or cannot be created or written.
    """
    check_folder(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise ExportError(f"{folder} is not empty; remove it or name another folder")


def onnx_model(loaded: LoadedNetwork) -> onnx.ModelProto:
    """Return the checked ONNX model of a detector, with its metadata.

    Raises:
        ExportError: the weights do not fit into one model.
    """
    _check_size(loaded.network)
    network = copy.deepcopy(loaded.network).eval().requires_grad_(requires_grad=False)
    fold_batch_norms(network)
    model = convert(network, one_label_iou=loaded.options.one_label_iou)
    model.producer_name, model.producer_version = "rendersight", rendersight.__version__
    onnx.helper.set_model_props(model, dict(metadata_of(loaded)))
    onnx.checker.check_model(model, full_check=True)
    return model


def metadata_of(loaded: LoadedNetwork) -> Mapping[str, str]:
    """Return what a model says about itself, name -> text; the values of several parts are JSON."""
    info, manifest = loaded.info, loaded.release.manifest if loaded.release else None
    rule = info.input
    one_label_iou = loaded.options.one_label_iou
    return {
        "release": loaded.release.ref if loaded.release else info.name,
        "weights_sha256": info.sha256,
        "architecture": info.architecture,
        "class_names": json.dumps(info.class_names),  # label i is the i-th name, counted from 1
        "input": json.dumps({"image": "upright RGB uint8 (height, width, 3)", **rule.model_dump(mode="json")}),
        "score_threshold": str(info.score_threshold),
        "score_floor": str(info.score_floor),
        "detections_per_image": str(info.detections_per_image),
        "one_label_iou": "" if one_label_iou is None else str(one_label_iou),
        "description": manifest.description if manifest else "",
        "licence": manifest.licence if manifest else "",
    }


def _check_size(network: nn.Module) -> None:
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if size > MOST_BYTES:
        raise ExportError(
            f"the weights take {size / 1e9:.1f} GB; one ONNX file holds at most {MOST_BYTES / 1e9:.1f} GB. "
            "Serve the state dict itself, or train a smaller architecture"
        )


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file or folder in the error of a failed write."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not Path(error.filename).name.startswith("."):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
