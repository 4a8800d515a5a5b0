"""Time to decode a 12-megapixel JPEG at reduced size and in full: `python -m benchmarks.decoding`.

The time ends at the network's input. With `--photos FOLDER` (labelled) it also prints the AP on
those photos, enlarged to 12 megapixels, for both ways of decoding.
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks.serving import PHOTOS, spread
from model_store import store
from model_store.detector import Detector, open_detector
from model_store.engines.openvino import OpenVinoEngine
from rendersight import images
from rendersight.annotations.dataset import load_pixels
from rendersight.detections import Detections
from rendersight.images import Need, Photo
from training.data.dataset import LabelledImages, read_dataset
from training.measuring.evaluation import evaluate

MEGAPIXELS = 12e6
_QUALITY = 90


def enlarged(pixels: images.RgbImage) -> bytes:
    """Return an image as a 12-megapixel JPEG with the same aspect ratio."""
    height, width = pixels.shape[:2]
    factor = float(np.sqrt(MEGAPIXELS / (height * width)))
    file = io.BytesIO()
    size = (round(width * factor), round(height * factor))
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def times(detector: Detector, *, rounds: int) -> dict[str, list[float]]:
    """Return the seconds from bytes to the network's input for both ways of decoding, measured alternately."""
    engine = detector.engine
    if not isinstance(engine, OpenVinoEngine):
        raise TypeError(f"the input is measured of an OpenVINO engine, not of {engine.name}")
    rule = detector.info.input
    ways: dict[str, Need | None] = {"full": None, "reduced": rule.resized_hw}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    photo = images.read(min(PHOTOS.glob("*.jpg")))
    data = enlarged(photo[: photo.shape[1] * 3 // 4])  # 4000 x 3000 px, as phones take
    with engine.lane() as lane:
        for _ in range(rounds + 1):  # the first round warms up
            for name, need in ways.items():
                began = time.perf_counter()
                pixels = images.decode_photo(data, need=need).pixels
                lane.pixels(pixels, *rule.resized_hw(*pixels.shape[:2]), rule)
                seconds[name].append(time.perf_counter() - began)
    return {name: values[1:] for name, values in seconds.items()}


def loss(detector: Detector, data: LabelledImages) -> dict[str, float]:
    """Return the AP on photos enlarged to 12 megapixels for both ways of decoding."""

    def found(decode: Callable[[bytes], Photo]) -> list[Detections]:
        results = []
        for image in tqdm(data.images, leave=False):
            pixels = load_pixels(image)
            photo = decode(enlarged(pixels))
            one = detector.detect_photo(photo)
            results.append(Detections.of(one.boxes_xyxy * (pixels.shape[1] / photo.width), one.labels, one.scores))
        return results

    need = detector.info.input.resized_hw
    ways: dict[str, Callable[[bytes], Photo]] = {
        "full": images.decode_photo,
        "reduced": lambda data: images.decode_photo(data, need=need),
    }
    return {name: evaluate(data, found(decode)).figures["AP"] for name, decode in ways.items()}


def main() -> None:
    """Print the ratio, and the AP if photos are given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=__doc__)
    parser.add_argument("--model", default="dice")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--photos", type=Path, help="labelled photos")
    options = parser.parse_args()
    detector = open_detector(options.model, store_root=store.DEFAULT_ROOT, device="cpu", streams=1)
    seconds = times(detector, rounds=options.rounds)
    ratios = [short / full for full, short in zip(seconds["full"], seconds["reduced"], strict=True)]
    full, reduced = (spread([1000 * value for value in values], "ms") for values in seconds.values())
    print(
        f"12-megapixel JPEG to the input of {options.model}: full {full} reduced {reduced} ratio {spread(ratios, '')}"
    )
    if options.photos:
        data = read_dataset(options.photos, class_names=detector.info.class_names)
        figures = loss(detector, data)
        print(
            f"AP on {len(data.images)} photos of 12 megapixels, {detector.engine.name}: "
            f"full {figures['full']:.4f} reduced {figures['reduced']:.4f}"
        )


if __name__ == "__main__":
    main()
