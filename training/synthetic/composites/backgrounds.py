"""A user's photos without any of the objects, as backdrops of composites."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from rendersight import atomic, images
from rendersight.annotations import Fault
from training.console import Bar
from training.data.dataset import BrokenDataset

PREFIX = "photo-"
_MAX_PX = 1600
"""Longer side that is kept: a composite shows a window of the network's input."""


def add_backgrounds(photos: Sequence[Path], out: Path, *, bar: Bar) -> None:
    """Copy photos into a folder of backdrops, upright and reduced. Copies that are there are kept.

    Raises:
        BrokenDataset: photos cannot be read; all others are copied.
    """
    out.mkdir(parents=True, exist_ok=True)
    faults = []
    for number, path in enumerate(bar(photos, desc="backgrounds") if photos else ()):
        target = out / f"{PREFIX}{number:06d}.jpg"
        if target.exists():
            continue
        try:
            picture = Image.fromarray(images.read(path))
        except (OSError, images.ImageError) as error:
            faults.append(Fault(str(path), str(error)))
            continue
        picture.thumbnail((_MAX_PX, _MAX_PX))
        file = BytesIO()
        picture.save(file, "JPEG", quality=92)
        atomic.write_bytes(target, file.getvalue())
    if faults:
        raise BrokenDataset(faults)
