from pathlib import Path

import pytest
from PIL import Image

from rendersight.images import read
from rendersight.photos import find_photos
from training.data.dataset import BrokenDataset
from training.synthetic.composites.backgrounds import add_backgrounds
from training.synthetic.composites.parts import PartCounts


def bar(items: object, **_: object) -> object:
    return items


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    Image.new("RGB", (2000, 500), "red").save(folder / "wide.png")
    turned = Image.new("RGB", (40, 20), "red")
    turned.getexif()[0x0112] = 6
    turned.save(folder / "inner" / "turned.JPG", "JPEG", exif=turned.getexif())
    (folder / "notes.txt").write_text("no photo")
    return folder


def test_copies_are_upright_and_reduced(photos: Path, tmp_path: Path) -> None:
    found = find_photos([photos], stems_differ=False)
    assert [path.name for path in found] == ["turned.JPG", "wide.png"]
    add_backgrounds(found, tmp_path / "out", bar=bar)
    shapes = [read(path).shape for path in sorted((tmp_path / "out").iterdir())]
    assert shapes == [(40, 20, 3), (400, 1600, 3)]


def test_unreadable_photos_are_named_together_and_the_others_copied(photos: Path, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (photos / name).write_bytes(b"none")
    with pytest.raises(BrokenDataset) as caught:
        add_backgrounds(find_photos([photos], stems_differ=False), tmp_path / "out", bar=bar)
    assert [Path(fault.file).name for fault in caught.value.faults] == ["a.jpg", "b.jpg"]
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_defaults_suit_the_number_of_meshes() -> None:
    assert [PartCounts.suiting(meshes).objects for meshes in (1, 12, 100)] == [200, 720, 3000]
    assert PartCounts.suiting(2, 3) == PartCounts(6, 6, 6)
