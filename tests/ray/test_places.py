import os
import zipfile
from pathlib import Path

import pytest

from deploy.ray.errors import JobError
from deploy.ray.places import Place, is_draft


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("b.JPG", "a.png", "below/c.webp", "notes.txt", "below/labels.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_photos_are_found_by_their_endings_in_folders_below_too(photos: Path) -> None:
    expected = [str(photos / name) for name in ("a.png", "b.JPG", "below/c.webp")]
    for url in (str(photos), f"{photos}/", photos.as_uri()):
        place = Place(url)
        assert place.photos() == expected
        assert [place.name_of(path) for path in expected] == expected
        assert place.read(expected[1]) == b"b.JPG"


def test_a_folder_that_cannot_be_listed_is_not_left_out(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    for _ in range(20):  # until its path is too long to be opened
        Path("d" * 250).mkdir()
        os.chdir("d" * 250)
    with pytest.raises(JobError, match="File name too long"):
        Place(str(photos)).photos()


def test_a_relative_folder_is_named_by_its_absolute_path(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    place = Place("photos")
    assert place.name_of(place.photos()[0]) == str(photos / "a.png")
    assert place.url == str(photos)
    assert place == Place(str(photos))
    assert place != Place("photos/below")


def test_photos_in_an_archive_are_named_by_their_url(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(photos / "b.JPG", "holiday/b.JPG")
    place = Place(f"zip://holiday::{tmp_path}/photos.zip")
    (path,) = place.photos()
    assert place.read(path) == b"b.JPG"
    name = place.name_of(path)
    assert name == f"zip://holiday/b.JPG::{tmp_path}/photos.zip"
    assert Place(name).photos() == [path]
    monkeypatch.chdir(tmp_path)
    assert Place("zip://holiday::photos.zip").name_of(path) == name


@pytest.mark.parametrize("url", ["{folder}/new/out", "memory://out"])
def test_a_file_is_there_as_a_whole(url: str, tmp_path: Path) -> None:
    place = Place(url.format(folder=tmp_path))
    assert place.names() == []
    assert place.find("a.txt") is None
    for data in (b"first", b"second"):
        place.write("a.txt", data)
        assert place.names() == ["a.txt"]
        assert place.find("a.txt") == data
        with place.open("a.txt") as file:
            assert file.read() == data
    place.remove("a.txt")
    assert place.names() == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match=f"^{tmp_path}/file: "):
        Place(f"{tmp_path}/file").write("a.txt", b"")


def test_a_file_is_a_draft_until_it_has_its_name(tmp_path: Path) -> None:
    place = Place(str(tmp_path))
    place.write("b.txt", b"")
    assert not any(map(is_draft, place.names()))
    assert is_draft("_0123.draft")
    assert not is_draft("_job.json")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://bucket/photos", "s3fs"),
        ("nonsense://bucket/photos", "Protocol not known: nonsense"),
        ("{folder}/missing", "no such folder can be reached"),
        ("{folder}", "no images among 1 files"),
    ],
)
def test_a_place_without_photos_is_named(url: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    url = url.format(folder=tmp_path)
    with pytest.raises(JobError, match=reason) as caught:
        Place(url).photos()
    assert str(caught.value).startswith(url)
    assert "\n" not in str(caught.value)
