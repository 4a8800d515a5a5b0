"""Decisions of the golden check, with the accuracy lost in each case: `python -m benchmarks.golden`.

Each mutation breaks a release in one way and is checked against its golden images. The check must refuse every mutation
that is not a rounding of the published model, and accept every engine that loses less than 0.01 of mAP. Set
ONEDNN_MAX_CPU_ISA=AVX2 to simulate a processor without AVX-512.
"""

import argparse
import copy
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torchvision.models.detection import FasterRCNN

from model_store import store
from model_store.cpu import model_name
from model_store.detector import check_golden, open_detector
from model_store.engines import Engine
from model_store.engines.torch import TorchEngine
from model_store.errors import EngineNotAvailable, GoldenMismatch
from model_store.network import load
from model_store.store import Release
from rendersight.annotations.dataset import load_pixels
from rendersight.detections import Detections
from rendersight.images import RgbImage
from training.data.dataset import LabelledImages, read_dataset
from training.measuring.evaluation import detect_all, evaluate

RENDERS = Path(__file__).parent.parent / "docs" / "renders"
MAX_LOSS = 0.01
MIN_LOSS_OF_BROKEN = 0.05

NOISE = (0.02, 0.04, 0.06, 0.08, 0.12)
"""Amounts of noise on the weights, as fractions of each tensor's standard deviation."""

_MEAN = np.array([124, 116, 104], np.float32)
_STD = 0.226

Images = Sequence[RgbImage]


@dataclass(frozen=True)
class Row:
    """The golden check's decision on one engine.

    Attributes:
        engine: name of the engine, which sets the tolerance.
        what: the mutation applied to it.
        lost: loss of mAP; None if it was not measured.
        is_refused: whether the golden check refused it.
        must_refuse: the correct decision; None if both are acceptable.
    """

    engine: str
    what: str
    lost: float | None
    is_refused: bool
    must_refuse: bool | None

    @property
    def is_wrong(self) -> bool:
        """Whether the check decided wrongly."""
        return self.must_refuse is not None and self.must_refuse != self.is_refused

    def __str__(self) -> str:
        lost = "" if self.lost is None else f"{self.lost:+.4f} lost"
        return (
            f"{self.engine:<14} {self.what:<28} {lost:<13} "
            f"{'refused' if self.is_refused else 'accepted'}{'  WRONG' if self.is_wrong else ''}"
        )


@dataclass
class Mutated:
    """An engine whose images or detections are altered.

    Attributes:
        engine: the engine that computes.
        name: name of the engine that it stands for, which sets the tolerance.
        before: alters an image, uint8 (H, W, 3).
        after: alters detections.
    """

    engine: Engine
    name: str
    before: Callable[[RgbImage], RgbImage] = lambda image: image
    after: Callable[[Detections], Detections] = lambda found: found
    device: str = "cpu"
    parallel: int = 1

    def detect(self, images: Images) -> list[Detections]:
        """Return the altered detections; see `model_store.engines.Engine`."""
        return [self.after(found) for found in self.engine.detect([self.before(image) for image in images])]

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        """Return the altered detections from the only lane; see `model_store.engines.Engine`."""
        return self.detect([image])


def permute_two_labels(found: Detections) -> Detections:
    """Return detections with the first two labels swapped."""
    swapped = np.array([0, 2, 1])
    labels = np.where(found.labels <= 2, swapped[np.minimum(found.labels, 2)], found.labels)  # noqa: PLR2004
    return Detections.of(found.boxes_xyxy, labels, found.scores)


def grow_boxes(found: Detections) -> Detections:
    """Return detections with boxes scaled by 1.05 around their centres."""
    centres = np.tile((found.boxes_xyxy[:, :2] + found.boxes_xyxy[:, 2:]) / 2, 2)
    return Detections.of(centres + (found.boxes_xyxy - centres) * np.float32(1.05), found.labels, found.scores)


def lose_numbers(_: Detections) -> Detections:
    """Raise the error of an engine whose network outputs NaN."""
    raise FloatingPointError("the network returned a box or a score that is not finite")


WRONG_IMAGES: dict[str, Callable[[RgbImage], RgbImage]] = {
    "channels as BGR": lambda image: np.ascontiguousarray(image[..., ::-1]),
    "mean left out": lambda image: (image.astype(np.float32) + _MEAN).clip(0, 255).astype(np.uint8),
    "scale left out": lambda image: (_MEAN + (image - _MEAN) * _STD).astype(np.uint8),
}
"""Wiring errors before the network, as changes of the image that have the same effect, as far as uint8 allows."""

WRONG_DETECTIONS: dict[str, Callable[[Detections], Detections]] = {
    "two labels swapped": permute_two_labels,
    "boxes shifted by 6 px": lambda found: Detections.of(found.boxes_xyxy + np.float32(6), found.labels, found.scores),
    "coordinates scaled by 5 %": lambda found: Detections.of(
        found.boxes_xyxy * np.float32(1.05), found.labels, found.scores
    ),
    "boxes grown by 5 %": grow_boxes,
    "NaN": lose_numbers,
}
"""Wiring errors after the network."""


def mutations(engine: Engine) -> Iterator[tuple[str, Mutated]]:
    """Yield the description and a mutation of an engine for each known wiring error."""
    for what, before in WRONG_IMAGES.items():
        yield what, Mutated(engine, engine.name, before=before)
    for what, after in WRONG_DETECTIONS.items():
        yield what, Mutated(engine, engine.name, after=after)


def with_noise(network: FasterRCNN, share: float) -> FasterRCNN:
    """Return a copy with noise on the weights, a fraction of each tensor's standard deviation: broken arithmetic."""
    noisy = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in noisy.parameters():
            if tensor.ndim > 1:
                tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=share * float(tensor.std()))
    return noisy


def retrained(network: FasterRCNN, data: LabelledImages, *, steps: int = 12) -> FasterRCNN:
    """Return a copy trained for some more steps: the weights of another training of the same classes."""
    learner = copy.deepcopy(network).train()
    optimizer = torch.optim.AdamW([item for item in learner.parameters() if item.requires_grad], lr=2e-4)
    label_of = {name: label for label, name in enumerate(data.class_names, 1)}
    torch.manual_seed(0)
    for step in range(steps):
        image = [item for item in data.images if item.labels][step % len(data.images)]
        pixels = torch.from_numpy(load_pixels(image).copy()).permute(2, 0, 1).float() / 255
        target = {
            "boxes": torch.from_numpy(image.boxes_xyxy.copy()),
            "labels": torch.tensor([label_of[name] for name in image.labels]),
        }
        loss = torch.stack(list(learner([pixels], [target]).values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return learner.eval()


def is_refused(engine: Engine, release: Release) -> bool:
    """Return whether the golden check refuses an engine for a release."""
    try:
        check_golden(engine, release)
    except GoldenMismatch:
        return True
    return False


def engines_of(release: Release) -> Iterator[Engine]:
    """Yield every engine of a release that runs here, unchecked."""
    network = load(release).network
    yield TorchEngine(network, "cpu")
    yield TorchEngine(network, "cpu", "bf16")
    for name in release.manifest.engines:
        try:
            yield open_detector(str(release.folder), store_root=release.folder, engine=name, is_checked=False).engine
        except EngineNotAvailable as error:
            print(f"{name}: not run: {error}")


def other_weights(release: Release, data: LabelledImages, root: Path) -> Iterator[tuple[str, FasterRCNN]]:
    """Yield networks of other trainings: other versions in the store with other weights, and one trained further."""
    own = release.manifest.files[store.WEIGHTS]
    for version in store.versions(root, release.manifest.name):
        other = store.find(root, f"{release.manifest.name}@{version}")
        if other.manifest.files[store.WEIGHTS] != own and other.manifest.class_names == release.manifest.class_names:
            yield f"weights of {other.ref}", load(other).network
    yield "weights that learned on", retrained(load(release).network, data)


def lost_ap(engine: Engine, data: LabelledImages, reference: float) -> float:
    """Return the loss of mAP@[.5:.95] on labelled images against the reference."""
    return reference - evaluate(data, detect_all(engine, data.images)).figures["AP"]


def measure(release: Release, data: LabelledImages, *, root: Path, noise: Sequence[float] = NOISE) -> Iterator[Row]:
    """Yield the golden check's decision on each engine and mutation of a release."""
    network = load(release).network
    reference = evaluate(data, detect_all(TorchEngine(network, "cpu"), data.images)).figures["AP"]
    for engine in engines_of(release):
        lost = lost_ap(engine, data, reference)
        must_refuse = False if lost < MAX_LOSS else None
        yield Row(engine.name, "as published", lost, is_refused(engine, release), must_refuse)
        for what, mutated in mutations(engine) if engine.name != "torch-bf16" else ():
            yield Row(engine.name, what, None, is_refused(mutated, release), must_refuse=True)
    for what, other in other_weights(release, data, root):
        mutated = Mutated(TorchEngine(other, "cpu"), "openvino-int8")
        yield Row("as int8", what, None, is_refused(mutated, release), must_refuse=True)
    for share in noise:
        mutated = Mutated(TorchEngine(with_noise(network, share), "cpu"), "openvino-int8")
        lost = lost_ap(mutated, data, reference)
        must_refuse = True if lost >= MIN_LOSS_OF_BROKEN else None
        yield Row("as int8", f"{share:.0%} noise on the weights", lost, is_refused(mutated, release), must_refuse)


def main() -> None:
    """Print the table; exit with status 1 if a decision is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.golden", description=__doc__)
    parser.add_argument("--model", default="dice")
    parser.add_argument("--photos", type=Path, default=RENDERS, help="labelled images for measuring the lost mAP")
    options = parser.parse_args()
    release = store.find(store.DEFAULT_ROOT, options.model)
    data = read_dataset(options.photos, class_names=release.manifest.class_names)
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "not limited")
    print(
        f"{release.ref}, {len(data.images)} images of {options.photos.name}, {model_name().partition(' fpu')[0]}, {isa}"
    )
    rows = []
    for row in measure(release, data, root=store.DEFAULT_ROOT):
        rows.append(row)
        print(row, flush=True)
    wrong = [row for row in rows if row.is_wrong]
    print(f"{len(rows)} rows, {len(wrong)} decided wrongly")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
