import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from rendersight.annotations import AnnotationError
from training.config import TrainConfig
from training.data.dataset import (
    BrokenDataset,
    DetectionDataset,
    LabelledImages,
    batch_part,
    collate,
    epoch_batches,
    epoch_order,
    read_dataset,
    to_network,
)
from training.data.split import split
from training.data.transforms import augmentation


@pytest.fixture
def data(shapes: Path) -> LabelledImages:
    return read_dataset(shapes)


def test_sorts_class_names_of_data(data: LabelledImages) -> None:
    assert data.class_names == ("disc", "square")
    assert len(data.images) == 10
    assert sum(1 for image in data.images if not image.labels) == 2


def test_keeps_order_of_given_class_names(shapes: Path) -> None:
    data = read_dataset(shapes, class_names=("square", "triangle", "disc"))
    ids = {
        label: number
        for image in data.images
        for label, number in zip(image.labels, data.label_ids(image), strict=True)
    }
    assert ids == {"square": 1, "disc": 3}


def test_reports_every_fault_at_once(shapes: Path, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "good.png").read_bytes()[:40])
    Image.new("RGB", (20, 20)).save(tmp_path / "typo.png")
    shape = {"label": "dragn", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}
    (tmp_path / "typo.json").write_text(json.dumps({"shapes": [shape], "imageData": None}))
    with pytest.raises(BrokenDataset) as caught:
        read_dataset(tmp_path, class_names=("dragon",))
    assert [fault.file for fault in caught.value.faults] == ["broken.png", "typo.json"]
    assert "'dragn'" in str(caught.value)
    assert "dragon" in str(caught.value)


def test_reports_fault_below_relative_path(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shapes.parent)
    with pytest.raises(BrokenDataset, match=r"photo_00\.json.*: label"):
        read_dataset(Path(shapes.name), class_names=("triangle",))


def test_rejects_unknown_image_name(data: LabelledImages) -> None:
    with pytest.raises(AnnotationError, match=r"1 of the listed images.*elsewhere\.png"):
        data.select(["photo_00.png", "elsewhere.png"])


@pytest.mark.parametrize(
    ("class_names", "label"), [(None, "1"), (("nut", "bolt"), "bolt"), (("0", "1", "10", "2"), "1")]
)
def test_names_the_numbers_of_label_files(tmp_path: Path, class_names: tuple[str, ...] | None, label: str) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    assert read_dataset(tmp_path, class_names=class_names).images[0].labels == (label,)


def test_reads_embedded_image(shapes: Path, tmp_path: Path) -> None:
    document = json.loads((shapes / "photo_00.json").read_text())
    document["imageData"] = base64.b64encode((shapes / "photo_00.png").read_bytes()).decode()
    (tmp_path / "photo_00.json").write_text(json.dumps(document))
    loader = DataLoader(DetectionDataset(read_dataset(tmp_path)), collate_fn=collate, num_workers=1)
    ((embedded,),) = list(loader)
    from_file = DetectionDataset(read_dataset(shapes))[0]
    assert torch.equal(embedded.image, from_file.image)
    assert torch.equal(embedded.boxes_xyxy, from_file.boxes_xyxy)


def test_rejects_empty_folder_and_folder_without_labels(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="holds no images"):
        read_dataset(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(AnnotationError, match="no label file that is read"):
        read_dataset(tmp_path)


BOX = {"label": "nut", "points": [[2, 2], [9, 9]], "shape_type": "rectangle"}
HIDDEN = {"label": "smudge", "points": [[10, 4], [18, 12]], "shape_type": "rectangle", "flags": {"ignore": True}}


@pytest.fixture
def with_ignored(tmp_path: Path) -> LabelledImages:
    for name, shapes in {"a": [BOX, HIDDEN], "b": [BOX], "c": [HIDDEN]}.items():
        Image.new("RGB", (20, 20)).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.json").write_text(json.dumps({"shapes": shapes}))
    return read_dataset(tmp_path)


def test_ignored_boxes_reach_the_network_and_are_no_class(with_ignored: LabelledImages) -> None:
    assert with_ignored.class_names == ("nut",)
    parts = split(with_ignored.select(["a.png", "c.png"]), hold_out=1, seed=0)
    samples = [sample for part in parts for sample in DetectionDataset(part)]
    _, targets = to_network(samples, torch.device("cpu"))
    assert [target["ignored"].tolist() for target in targets] == [[[10, 4, 18, 12]]] * 2
    assert sorted(len(target["boxes"]) for target in targets) == [0, 1]
    assert targets[0]["ignored"].dtype == torch.float32


def test_ignored_boxes_are_widened_like_the_others(with_ignored: LabelledImages) -> None:
    wide = with_ignored.widened(0.5).images[0]
    assert wide.ignored_xyxy.tolist() == [[6, 0, 20, 16]]
    assert wide.boxes_xyxy.tolist() == [[0, 0, 12.5, 12.5]]
    assert wide.ignored[0].label == "smudge"


def test_fingerprint_changes_with_ignored_boxes_alone(with_ignored: LabelledImages) -> None:
    without = replace(with_ignored, images=tuple(replace(image, ignored=()) for image in with_ignored.images))
    moved = tuple(replace(item, box_xyxy=(10, 4, 18, 13)) for item in with_ignored.images[0].ignored)
    other = replace(with_ignored, images=(replace(with_ignored.images[0], ignored=moved), *with_ignored.images[1:]))
    prints = {with_ignored.fingerprint(), without.fingerprint(), other.fingerprint()}
    assert len(prints) == 3
    # as computed before there were ignored boxes
    assert with_ignored.select(["b.png"]).fingerprint().startswith("4f7b1b0f12da87d1")


def test_fingerprint_depends_on_content_alone(data: LabelledImages, shapes: Path) -> None:
    assert data.fingerprint() == read_dataset(shapes).fingerprint()
    image = data.images[0]
    object.__setattr__(image, "boxes_xyxy", image.boxes_xyxy + np.float32(0.5))
    assert data.fingerprint() != read_dataset(shapes).fingerprint()


@pytest.mark.parametrize("workers", [0, 1])
def test_augmentation_depends_on_seed_epoch_and_index(data: LabelledImages, workers: int) -> None:
    config = TrainConfig(architecture="fasterrcnn_mobilenet_v2_fpn", rotate90=0.5, vertical_flip=0.5)
    dataset = DetectionDataset(data, augment=augmentation(config), seed=3)
    dataset.epoch = 1
    alone = dataset[4]
    torch.rand(7)
    loader = DataLoader(dataset, batch_sampler=[[0, 1], [4]], collate_fn=collate, num_workers=workers)
    among_others = list(loader)[1][0]
    assert torch.equal(alone.image, among_others.image)
    dataset.epoch = 2
    assert not torch.equal(alone.image, dataset[4].image)


def test_augmentation_keeps_global_random_state(data: LabelledImages) -> None:
    config = TrainConfig(architecture="fasterrcnn_mobilenet_v2_fpn")
    dataset = DetectionDataset(data, augment=augmentation(config), seed=0)
    before = torch.get_rng_state()
    _ = dataset[0]
    assert torch.equal(before, torch.get_rng_state())


def test_image_without_objects_has_empty_targets(data: LabelledImages) -> None:
    pixels, targets = to_network([DetectionDataset(data)[4]], torch.device("cpu"))
    assert targets[0]["boxes"].shape == (0, 4)
    assert targets[0]["labels"].shape == (0,)
    assert pixels[0].shape == (3, 96, 96)
    assert 0 <= float(pixels[0].min()) <= float(pixels[0].max()) <= 1


def test_widens_boxes_up_to_the_edge(shapes: Path) -> None:
    data = read_dataset(shapes)
    wide = data.widened(0.1)
    assert data.widened(0) is data
    for before, after in zip(data.images, wide.images, strict=True):
        assert after.labels == before.labels
        assert after.boxes_xyxy.shape == before.boxes_xyxy.shape
        assert after.boxes_xyxy.dtype == np.float32
        for (x0, y0, x1, y1), found in zip(before.boxes_xyxy.tolist(), after.boxes_xyxy.tolist(), strict=True):
            room_x, room_y = (x1 - x0) / 10, (y1 - y0) / 10
            wanted = (max(0, x0 - room_x), max(0, y0 - room_y), min(96, x1 + room_x), min(96, y1 + room_y))
            assert found == pytest.approx(wanted, abs=1e-3)


def test_epoch_visits_every_image_once() -> None:
    first, second = epoch_order(20, seed=1, epoch=0), epoch_order(20, seed=1, epoch=1)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_batches_cut_the_order_of_an_epoch() -> None:
    batches = epoch_batches(10, batch_size=4, seed=1, epoch=2)
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert [image for batch in batches for image in batch] == epoch_order(10, seed=1, epoch=2)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 8])
def test_batch_parts_are_disjoint_complete_and_even(count: int, size: int) -> None:
    batch = [10 * number for number in range(count)]
    parts = [batch_part(batch, rank=rank, size=size) for rank in range(size)]
    assert sorted(image for some in parts for image in some) == batch
    lengths = [len(some) for some in parts]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)
