"""Results of long stages: whole or not there, and never those of other inputs."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rendersight.detections import Detections
from rendersight.images import RgbImage
from training.data.dataset import read_dataset
from training.releasing.work_folder import WorkFolder


def bar(items: Iterable[Any], **_: Any) -> Iterable[Any]:
    return items


class Bright:
    """Finds one object of label 1 for every 20 grey values of the first pixel."""

    name, device, parallel = "bright", "cpu", 1

    def __init__(self) -> None:
        self.seen = 0

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        self.seen += len(images)
        counts = [int(image[0, 0, 0]) // 20 for image in images]
        return [Detections.of([[0, 0, 1 + n, 0.1]] * n, [1] * n, [0.3] * n) for n in counts]

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        return self.detect([image])


def test_a_result_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    said: list[str] = []
    work = WorkFolder(tmp_path / "work", said.append)

    def fail(folder: Path) -> None:
        (folder / "half").write_text("written")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        work.keep("graphs", "the graphs", {"photos": [1]}, fail)
    assert list(work.root.iterdir()) == []
    folder = work.keep("graphs", "the graphs", {"photos": [1]}, lambda folder: (folder / "whole").touch())
    assert (list(work.root.iterdir()), [path.name for path in folder.iterdir()]) == ([folder], ["whole"])
    assert said == []
    assert work.keep("graphs", "the graphs", {"photos": [1]}, fail) == folder
    assert said == [f"the graphs: reused from {folder}"]
    assert work.keep("graphs", "the graphs", {"photos": [2]}, lambda folder: None) != folder


def test_what_was_found_in_the_same_images_is_taken_over(tmp_path: Path, shapes: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(shapes, photos)
    work = WorkFolder(tmp_path / "work", lambda _: None)
    engine = Bright()

    def detect(network: str = "one") -> list[Detections]:
        return work.detect(engine, {"weights": network}, "photos", read_dataset(photos).images, bar=bar)

    for path, grey in zip(sorted(photos.glob("*.png")), (0, 60, 0, 20, 0, 0, 0, 0, 0, 0), strict=True):
        Image.new("L", (96, 96), grey).save(path)
    first = detect()
    assert [len(item) for item in first] == [0, 3, 0, 1, 0, 0, 0, 0, 0, 0]
    labels = (photos / "photo_00.json").read_text()
    (photos / "photo_00.json").write_text(labels.replace('"disc"', '"square"'))  # labels do not change what is found
    for item, before in zip(detect(), first, strict=True):
        np.testing.assert_array_equal(item.boxes_xyxy, before.boxes_xyxy)
        np.testing.assert_array_equal(item.scores, before.scores)
        assert (item.labels.dtype, item.labels.tolist()) == (np.int64, before.labels.tolist())
    assert engine.seen == 10
    detect("another")
    Image.new("L", (96, 96), 40).save(photos / "photo_00.png")
    assert (len(detect()[0]), engine.seen) == (2, 30)
