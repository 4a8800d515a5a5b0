from pathlib import Path

import pytest

from rendersight.annotations import AnnotationError
from rendersight.photos import find_photos


def test_lists_files_and_folders_without_repeats(tmp_path: Path) -> None:
    for name in ("b.JPG", "sub/a.png", "notes.txt", "a.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    photos = [tmp_path / "b.JPG", tmp_path / "sub" / "a.png"]
    assert find_photos([tmp_path]) == photos
    assert find_photos([photos[1], tmp_path, photos[1]]) == photos[::-1]
    assert find_photos([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"], "a file that is named is taken as one"


def test_heic_photos_are_found_whether_or_not_they_can_be_read(tmp_path: Path) -> None:
    for name in ("IMG_0.HEIC", "IMG_1.heif", "IMG_2.hif"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in find_photos([tmp_path])] == ["IMG_0.HEIC", "IMG_1.heif", "IMG_2.hif"]


def test_rejects_missing_photos(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="nowhere is neither a file nor a folder"):
        find_photos([tmp_path / "nowhere"])
    with pytest.raises(AnnotationError, match="no images in"):
        find_photos([tmp_path])


def test_rejects_two_photos_of_one_stem(tmp_path: Path) -> None:
    twins = [tmp_path / "a.jpg", tmp_path / "a.png"]
    for path in twins:
        path.write_bytes(b"")
    with pytest.raises(AnnotationError, match=r"a\.jpg and .*a\.png would both be written as a"):
        find_photos([tmp_path])
    assert find_photos([tmp_path], stems_differ=False) == twins
