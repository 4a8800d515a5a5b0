"""Images and composites as one training set."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rendersight.annotations import AnnotatedImage
from training.config import ConfigError, TrainConfig, validate
from training.data.dataset import DetectionDataset, LabelledImages
from training.learning.mixture import WithComposites, read_backdrops
from training.synthetic.composites.cutouts import Cutout
from training.synthetic.composites.parts import BACKDROPS, OBJECTS

CONFIG = TrainConfig(
    architecture="fasterrcnn_mobilenet_v2_fpn", crop_px=96, composites=5, jpeg=1.0, horizontal_flip=0.5, rotate90=0.5
)


@pytest.fixture
def mixture(tmp_path: Path) -> WithComposites:
    (tmp_path / OBJECTS).mkdir()
    rgba = np.full((20, 30, 4), (250, 10, 10, 255), np.uint8)
    info = PngInfo()
    info.add_text("rendersight", Cutout(rgba, "nut", "nut.obj", 1.0, 30.0).facts())
    Image.fromarray(rgba).save(tmp_path / OBJECTS / "000000.png", pnginfo=info)
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    boxes = np.array([[4, 4, 20, 20]], np.float32)
    image = AnnotatedImage("a.png", tmp_path / "a.png", None, (64, 48), boxes, ("bolt",))
    names = ("bolt", "nut")
    return WithComposites(DetectionDataset(LabelledImages((image,), names)), tmp_path, names, CONFIG)


def test_images_come_first_then_composites(mixture: WithComposites) -> None:
    assert len(mixture) == 6
    assert mixture.names == ["a.png", "composite 0", "composite 1", "composite 2", "composite 3", "composite 4"]
    assert mixture[0].labels.tolist() == [1]
    assert mixture[1].size_hw == (96, 96)
    assert {label for index in range(1, 6) for label in mixture[index].labels.tolist()} == {2}


def test_each_epoch_has_new_composites_and_repeats_them(mixture: WithComposites) -> None:
    first = mixture[1].image
    assert torch.equal(first, mixture[1].image)
    mixture.epoch = 1
    assert not torch.equal(first, mixture[1].image)
    mixture.epoch = 0
    assert torch.equal(first, mixture[1].image)


def test_boxes_of_composites_lie_inside(mixture: WithComposites) -> None:
    for epoch in range(6):
        mixture.epoch = epoch
        for index in range(1, 6):
            sample = mixture[index]
            for boxes in (sample.boxes_xyxy, sample.ignored_xyxy):
                assert (boxes >= 0).all()
                assert (boxes <= 96).all()


def test_composites_need_windows() -> None:
    with pytest.raises(ConfigError, match="composites need crop_px"):
        validate({"composites": 10})


def test_rejects_folder_without_cutouts(tmp_path: Path) -> None:
    images = DetectionDataset(LabelledImages((), ("nut",)))
    with pytest.raises(ConfigError, match="holds no cut-outs; make them with"):
        WithComposites(images, tmp_path, ("nut",), CONFIG)


def test_rejects_cutouts_of_no_class(mixture: WithComposites, tmp_path: Path) -> None:
    images = DetectionDataset(LabelledImages((), ("bolt",)))
    with pytest.raises(ConfigError, match="cut-outs of nut, which are not classes; the classes are bolt"):
        WithComposites(images, tmp_path, ("bolt",), CONFIG)


def test_photos_are_as_likely_as_rendered_backdrops(mixture: WithComposites, tmp_path: Path) -> None:
    (tmp_path / BACKDROPS).mkdir()
    for number in range(6):
        Image.new("RGB", (8, 8), "black").save(tmp_path / BACKDROPS / f"{number:06d}.jpg")
    for number in range(2):
        Image.new("RGB", (8, 8), "white").save(tmp_path / BACKDROPS / f"photo-{number:06d}.jpg")
    white = [bool(pixels.mean() > 128) for pixels in read_backdrops(tmp_path / BACKDROPS)]
    assert (white.count(True), white.count(False)) == (6, 6)
