"""Halves of a set of photos, and a row for each set, kept between two commands."""

import shutil
from pathlib import Path

import pytest

from benchmarks.adapt import halves, main
from tests.training.conftest import adapt_preset, draw_dataset, few, shapes, store_of_discs  # noqa: F401 - fixtures
from training.data.dataset import read_dataset


def names(folder: Path, group_by: str | None) -> list[list[str]]:
    return [[image.name for image in part.images] for part in halves(read_dataset(folder), group_by)]


def test_halves_are_disjoint_and_equal(tmp_path: Path) -> None:
    first, second = names(draw_dataset(tmp_path / "photos", count=6), None)
    assert first == ["photo_00.png", "photo_02.png", "photo_04.png"]
    assert second == ["photo_01.png", "photo_03.png", "photo_05.png"]


def test_photos_that_look_alike_are_in_one_half(tmp_path: Path) -> None:
    folder = draw_dataset(tmp_path / "photos", count=4)
    for name in ("photo_08", "photo_09"):
        shutil.copy(folder / "photo_01.png", folder / f"{name}.png")
        (folder / f"{name}.json").write_text((folder / "photo_01.json").read_text().replace("photo_01", name))
    first, second = names(folder, None)
    assert (first, second) == (["photo_00.png", "photo_02.png", "photo_03.png"], sorted(second))
    assert second == ["photo_01.png", "photo_08.png", "photo_09.png"]


def test_scenes_are_in_one_half(tmp_path: Path) -> None:
    first, second = names(draw_dataset(tmp_path / "photos", count=6), r"photo_0([0-2]?)")
    assert first == ["photo_00.png", "photo_02.png"]
    assert second == ["photo_01.png", "photo_03.png", "photo_04.png", "photo_05.png"]


@pytest.mark.long
def test_prints_rows_and_keeps_units(
    store_of_discs: Path,  # noqa: F811
    *,
    shapes: Path,  # noqa: F811
    few: Path,  # noqa: F811
    adapt_preset: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [f"shapes={shapes}", f"few={few}", "--release", "discs", "--learn-from", "shapes", "--seeds", "1"]
    words += ["--store", str(store_of_discs), "--preset", str(adapt_preset), "--out", str(tmp_path), "--device", "cpu"]
    main(words)
    title, _, *rows = capsys.readouterr().out.splitlines()
    assert title.startswith("discs@1 adapted with ")
    assert [row[31:48].strip() for row in rows] == ["the other half", "any class", "few, by half 1", "few, by half 2"]
    main(words)
    again = capsys.readouterr().out.splitlines()[2:]
    assert [row[:70] for row in again] == [row[:70] for row in rows]  # all but the seconds
