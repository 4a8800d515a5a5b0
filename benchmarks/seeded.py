"""Writes the notebook's network with seeded weights, for measuring speed: `python -m benchmarks.seeded FOLDER`.

It writes `resnet50.pt`, a bare state dict of `fasterrcnn_resnet50_fpn`, and in `store/` the release `resnet50` of the
same weights with an int8 engine. The network's detections are useless, but it is as large as a trained one, and its box
head processes 1,000 proposals, torchvision's default.
"""

import argparse
import datetime
import shutil
from pathlib import Path

import torch
from torchvision.models.detection import FasterRCNN

from benchmarks.serving import PHOTOS
from model_store import architectures, store
from model_store.architectures import NetworkOptions
from model_store.manifest import Manifest
from model_store.network import input_rule

ARCHITECTURE = "fasterrcnn_resnet50_fpn"
_CLASSES = ("object",)
_RESIDUAL = 0.2
"""Weight of the last norm of each block, chosen so that seeded activations neither fade nor overflow."""


def network(class_count: int = len(_CLASSES), options: NetworkOptions | None = None) -> FasterRCNN:
    """Return the network, in eval mode; `options` are those of `architectures.build`."""
    torch.manual_seed(0)
    built = architectures.build(ARCHITECTURE, class_count=class_count, options=options)
    for name, buffer in built.named_buffers():
        if name.endswith("bn3.weight"):
            buffer.fill_(_RESIDUAL)
    return built.eval()


def publish(root: Path, weights: Path) -> store.Release:
    """Publish the weights as a release without an engine."""
    options = architectures.ARCHITECTURES[ARCHITECTURE].options

    def fill(folder: Path, version: int) -> None:
        shutil.copyfile(weights, folder / store.WEIGHTS)
        shutil.copyfile(min(PHOTOS.glob("*.jpg")), folder / store.GOLDEN_IMAGE)
        Manifest(
            name="resnet50",
            version=version,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            architecture=ARCHITECTURE,
            options=options.model_dump(),
            class_names=_CLASSES,
            input=input_rule(options),
            score_floor=options.score_floor,
            detections_per_image=options.detections_per_image,
            score_threshold=1.0,
            files={name: store.sha256_of(folder / name) for name in (store.WEIGHTS, store.GOLDEN_IMAGE)},
        ).write(folder)

    return store.publish(root, "resnet50", fill, lambda _: None)


def main() -> None:
    """Write the state dict and the release."""
    from training.console import progress_bar, say  # noqa: PLC0415
    from training.data.dataset import LabelledImages, read_dataset  # noqa: PLC0415
    from training.releasing.accelerate import EnginePlan, accelerate  # noqa: PLC0415 - imports OpenVINO
    from training.releasing.work_folder import WorkFolder  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="python -m benchmarks.seeded", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "resnet50.pt"
    built = network()
    torch.save(built.state_dict(), weights)
    release = publish(folder / "store", weights)
    photos = sorted(PHOTOS.glob("*.jpg"))
    data = read_dataset(PHOTOS)
    data = LabelledImages(data.images[:1], data.class_names)
    plan = EnginePlan(photos, "photos that it cannot read", data, ("openvino-int8",), even_if_unjudged=True)
    accelerate(release, plan, store_root=folder / "store", work=WorkFolder(folder / "work", say), bar=progress_bar)


if __name__ == "__main__":
    main()
