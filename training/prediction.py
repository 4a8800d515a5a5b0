"""Photos -> annotated pictures and LabelMe files, a detector's own labels to look at, to correct and to train on."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from model_store.engines import Engine
from rendersight import images
from rendersight.annotations import AnnotationError, Fault, labelme
from rendersight.detections import Detections
from rendersight.drawing import draw_detections
from training.dataset import BrokenDataset

PICTURES = "pictures"
LABELME = "labelme"


def find_photos(paths: Sequence[Path]) -> list[Path]:
    """Return the image files that are named, or that lie in the folders named, sorted, without repeats.

    Raises:
        AnnotationError: a path that does not exist, no image at all, or two images of one stem.
    """
    suffixes = images.file_formats()
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found.update(
                dict.fromkeys(sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and p.is_file()))
            )
        elif path.is_file():
            found[path] = None
        else:
            raise AnnotationError(f"{path} is neither a file nor a folder")
    if not found:
        raise AnnotationError(f"no images in {', '.join(str(path) for path in paths)}")
    by_stem: dict[str, Path] = {}
    for path in found:
        if (other := by_stem.setdefault(path.stem, path)) != path:
            raise AnnotationError(f"{other} and {path} would both be written as {path.stem}; predict them apart")
    return list(found)


def predict(
    engine: Engine,
    photos: Sequence[Path],
    out: Path,
    *,
    class_names: Sequence[str],
    score_threshold: float,
    progress: Callable[[Iterable[Path]], Iterable[Path]],
) -> int:
    """Write `pictures/STEM.jpg` and `labelme/STEM.json` for each photo; returns how many objects were found.

    A LabelMe file names its photo by a path relative to itself, so that LabelMe opens it and training reads it.

    Raises:
        BrokenDataset: photos that could not be used, after all others are written.
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
    if faults:
        raise BrokenDataset(faults)
    return count


def _write(photo: Path, pixels: images.RgbImage, out: Path, *, found: Detections, class_names: Sequence[str]) -> None:
    draw_detections(pixels, found, class_names=class_names).save(out / PICTURES / f"{photo.stem}.jpg", quality=92)
    text = labelme.to_json(
        found,
        class_names=class_names,
        image_name=Path(os.path.relpath(photo, out / LABELME)).as_posix(),
        size_wh=(pixels.shape[1], pixels.shape[0]),
    )
    (out / LABELME / f"{photo.stem}.json").write_text(text + "\n", "utf-8")
