"""Annotated pictures and LabelMe files of a detector's output: labels to look at, to correct and to train on."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from model_store.engines import Engine
from rendersight import images
from rendersight.annotations import Fault
from rendersight.annotations.formats import labelme
from rendersight.detections import Detections
from rendersight.drawing import draw_detections
from training.data.dataset import BrokenDataset

PICTURES = "pictures"
LABELME = "labelme"


def predict(
    engine: Engine,
    photos: Sequence[Path],
    out: Path,
    *,
    class_names: Sequence[str],
    score_threshold: float,
    progress: Callable[[Iterable[Path]], Iterable[Path]],
    tell: Callable[[Path, tuple[int, int], Detections], None] = lambda _photo, _size_wh, _found: None,
) -> int:
    """Write `pictures/STEM.jpg` and `labelme/STEM.json` for each photo and return the number of objects found.

    A LabelMe file names its photo by a path relative to itself, so that LabelMe opens it and training reads it.
    `tell` is called with each photo, its width and height in px, and the detections written for it.

    Raises:
        BrokenDataset: some photos cannot be used; raised after the results of all others are written.
    """
    faults: list[Fault] = []
    count = 0
    for folder in (out / PICTURES, out / LABELME):
        folder.mkdir(parents=True, exist_ok=True)
    for photo in progress(photos):
        try:
            pixels = images.read(photo)
        except (images.ImageError, OSError) as error:
            faults.append(Fault(str(photo), str(error)))
            continue
        found = engine.detect([pixels])[0].above(score_threshold)
        count += len(found)
        _write(photo, pixels, out, found=found, class_names=class_names)
        tell(photo, (pixels.shape[1], pixels.shape[0]), found)
    if faults:
        raise BrokenDataset(faults)
    return count


def _write(photo: Path, pixels: images.RgbImage, out: Path, *, found: Detections, class_names: Sequence[str]) -> None:
    draw_detections(pixels, found, class_names=class_names).save(out / PICTURES / f"{photo.stem}.jpg", quality=92)
    text = labelme.detections_to_json(
        found,
        class_names=class_names,
        image_name=Path(os.path.relpath(photo, out / LABELME)).as_posix(),
        size_wh=(pixels.shape[1], pixels.shape[0]),
    )
    (out / LABELME / f"{photo.stem}.json").write_text(text + "\n", "utf-8")
