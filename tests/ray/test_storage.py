import os
import zipfile
from pathlib import Path

import pytest

from deploy.ray.errors import JobError
from deploy.ray.storage import Storage, is_draft


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("b.JPG", "a.png", "below/c.webp", "notes.txt", "below/labels.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_finds_photos_in_subfolders(photos: Path) -> None:
    expected = [str(photos / name) for name in ("a.png", "b.JPG", "below/c.webp")]
    for url in (str(photos), f"{photos}/", photos.as_uri()):
        storage = Storage(url)
        assert storage.photos() == expected
        assert [storage.name_of(path) for path in expected] == expected
        assert storage.read(expected[1]) == b"b.JPG"


def test_refuses_unlistable_subfolder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    for _ in range(20):  # until the path is too long to open
        Path("d" * 250).mkdir()
        os.chdir("d" * 250)
    with pytest.raises(JobError, match="File name too long"):
        Storage(str(photos)).photos()


def test_makes_path_absolute(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    storage = Storage("photos")
    assert storage.name_of(storage.photos()[0]) == str(photos / "a.png")
    assert storage.url == str(photos)
    assert storage == Storage(str(photos))
    assert storage != Storage("photos/below")


def test_names_photos_in_archive_by_url(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(photos / "b.JPG", "holiday/b.JPG")
    storage = Storage(f"zip://holiday::{tmp_path}/photos.zip")
    (path,) = storage.photos()
    assert storage.read(path) == b"b.JPG"
    name = storage.name_of(path)
    assert name == f"zip://holiday/b.JPG::{tmp_path}/photos.zip"
    assert Storage(name).photos() == [path]
    monkeypatch.chdir(tmp_path)
    assert Storage("zip://holiday::photos.zip").name_of(path) == name


@pytest.mark.parametrize("url", ["{folder}/new/out", "memory://out"])
def test_writes_whole_files(url: str, tmp_path: Path) -> None:
    storage = Storage(url.format(folder=tmp_path))
    assert storage.names() == []
    assert storage.find("a.txt") is None
    for data in (b"first", b"second"):
        storage.write("a.txt", data)
        assert storage.names() == ["a.txt"]
        assert storage.find("a.txt") == data
        with storage.open("a.txt") as file:
            assert file.read() == data
    storage.remove("a.txt")
    assert storage.names() == []


def test_names_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match=f"^{tmp_path}/file: "):
        Storage(f"{tmp_path}/file").write("a.txt", b"")


def test_recognises_drafts(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write("b.txt", b"")
    assert not any(map(is_draft, storage.names()))
    assert is_draft("_0123.draft")
    assert not is_draft("_job.json")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://bucket/photos", "s3fs"),
        ("nonsense://bucket/photos", "Protocol not known: nonsense"),
        ("{folder}/missing", "no such folder"),
        ("{folder}", "no images among 1 files"),
    ],
)
def test_names_folder_without_photos(url: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    url = url.format(folder=tmp_path)
    with pytest.raises(JobError, match=reason) as caught:
        Storage(url).photos()
    assert str(caught.value).startswith(url)
    assert "\n" not in str(caught.value)
