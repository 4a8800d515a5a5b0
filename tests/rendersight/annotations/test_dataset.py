"""A folder of photos with LabelMe files: what belongs together, and every fault at once."""

import base64
import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rendersight.annotations import AnnotatedImage, AnnotationError, Fault, ReadOptions, summary
from rendersight.annotations.dataset import AnnotatedDataset, load_pixels, read_annotations

WIDTH, HEIGHT = 40, 30
RECTANGLE = {"label": "six", "points": [[5, 6], [15, 26]], "shape_type": "rectangle"}
BOX = [5, 6, 15, 26]


def write_image(path: Path, colour: str = "white", size_wh: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size_wh, colour).save(path)
    return path


def write_json(path: Path, *shapes: Any, **keys: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"version": "5.5.0", "shapes": shapes or (RECTANGLE,), "imagePath": "x.jpg", "imageData": None, **keys}
    path.write_text(json.dumps(document), "utf-8")
    return path


def encoded(colour: str, name: str = "PNG", **options: Any) -> str:
    buffer = BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), colour).save(buffer, name, **options)
    return base64.b64encode(buffer.getvalue()).decode()


def the_image(folder: AnnotatedDataset) -> AnnotatedImage:
    assert folder.faults == ()
    (image,) = folder.images
    return image


def reasons(folder: AnnotatedDataset) -> dict[str, str]:
    assert len({fault.file for fault in folder.faults}) == len(folder.faults)
    return {fault.file: fault.reason for fault in folder.faults}


class TestPairs:
    def test_an_image_with_its_json(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photo.png")
        write_json(tmp_path / "photo.json", imagePath="photo.png", imageWidth=WIDTH, imageHeight=HEIGHT)
        image = the_image(read_annotations(tmp_path))
        assert image.name == "photo.png"
        assert image.size_wh == (WIDTH, HEIGHT)
        assert image.boxes_xyxy.tolist() == [BOX]
        assert image.boxes_xyxy.dtype == np.float32
        assert image.labels == ("six",)
        assert (image.image_path, image.annotation_path) == (tmp_path / "photo.png", tmp_path / "photo.json")

    def test_an_image_without_json_has_no_objects(self, tmp_path: Path) -> None:
        write_image(tmp_path / "empty.png")
        image = the_image(read_annotations(tmp_path))
        assert image.boxes_xyxy.shape == (0, 4)
        assert (image.labels, image.annotation_path) == ((), None)

    def test_a_json_without_shapes_means_no_objects(self, tmp_path: Path) -> None:
        write_image(tmp_path / "empty.png")
        (tmp_path / "empty.json").write_text('{"shapes": [], "imagePath": "empty.png"}')
        image = the_image(read_annotations(tmp_path))
        assert image.boxes_xyxy.shape == (0, 4)
        assert image.annotation_path == tmp_path / "empty.json"

    @pytest.mark.parametrize(
        "stale",
        [
            "other.png",
            "/home/someone/photo.png",
            "C:\\photos\\photo.png",
            "..\\photo.png",
            "../elsewhere/nothing.png",
            "",
            "..",
            None,
        ],
    )
    def test_the_same_stem_counts_whatever_image_path_says(self, tmp_path: Path, stale: str | None) -> None:
        write_image(tmp_path / "photo.png")
        write_json(tmp_path / "photo.json", imagePath=stale)
        assert the_image(read_annotations(tmp_path)).boxes_xyxy.tolist() == [BOX]

    @pytest.mark.parametrize(
        "image_path", ["IMG_1.png", "/home/someone/IMG_1.png", "C:\\photos\\IMG_1.png", "old\\IMG_1.png"]
    )
    def test_an_image_of_another_stem_is_claimed_by_image_path(self, tmp_path: Path, image_path: str) -> None:
        write_image(tmp_path / "IMG_1.png")
        write_json(tmp_path / "labels_1.json", imagePath=image_path)
        image = the_image(read_annotations(tmp_path))
        assert image.name == "IMG_1.png"
        assert image.boxes_xyxy.tolist() == [BOX]

    @pytest.mark.parametrize("image_path", ["../images/a.png", "..\\images\\a.png"])
    def test_labels_and_images_may_lie_in_folders_of_their_own(self, tmp_path: Path, image_path: str) -> None:
        write_image(tmp_path / "images" / "a.png")
        write_json(tmp_path / "labels" / "a.json", imagePath=image_path)
        image = the_image(read_annotations(tmp_path))
        assert (image.name, image.labels) == ("images/a.png", ("six",))

    def test_a_detour_in_the_folder_s_path_changes_nothing(self, tmp_path: Path) -> None:
        write_image(tmp_path / "set" / "images" / "a.png")
        write_json(tmp_path / "set" / "labels" / "a.json", imagePath="../images/a.png")
        (tmp_path / "other").mkdir()
        assert the_image(read_annotations(tmp_path / "other" / ".." / "set")).labels == ("six",)

    def test_a_relative_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_image(tmp_path / "set" / "images" / "a.png")
        write_json(tmp_path / "set" / "labels" / "a.json", imagePath="../images/a.png")
        monkeypatch.chdir(tmp_path)
        image = the_image(read_annotations(Path("set")))
        assert (image.name, image.labels) == ("images/a.png", ("six",))

    def test_an_image_outside_the_folder_may_be_named(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photos" / "a.png")
        write_json(tmp_path / "labels" / "a.json", imagePath="../photos/a.png")
        assert the_image(read_annotations(tmp_path / "labels")).name == "../photos/a.png"

    def test_an_absolute_path_is_not_followed_out_of_the_folder(self, tmp_path: Path) -> None:
        elsewhere = write_image(tmp_path / "old" / "a.png")  # where the photo was, perhaps changed since
        write_json(tmp_path / "set" / "a.json", imagePath=str(elsewhere))
        assert "leads to none" in reasons(read_annotations(tmp_path / "set"))["a.json"]

    def test_an_image_belongs_to_the_json_of_its_stem(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.png")
        write_json(tmp_path / "a.json")
        write_json(tmp_path / "b.json", {**RECTANGLE, "label": "one"}, imagePath="a.png")
        folder = read_annotations(tmp_path)
        assert [image.labels for image in folder.images] == [("six",)]
        assert "imagePath 'a.png' leads to none" in reasons(folder)["b.json"]

    def test_stems_may_hold_dots_and_suffixes_capitals(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photo.v1.PNG")
        write_image(tmp_path / "photo.v2.png")
        write_json(tmp_path / "photo.v1.json")
        folder = read_annotations(tmp_path, ReadOptions(negatives=True))
        assert folder.faults == ()
        assert [(image.name, len(image.labels)) for image in folder.images] == [
            ("photo.v1.PNG", 1),
            ("photo.v2.png", 0),
        ]

    def test_sub_folders_are_read_and_names_say_which(self, tmp_path: Path) -> None:
        for name in ("b/photo.png", "a/photo.png", "photo.png"):
            write_image(tmp_path / name)
            write_json((tmp_path / name).with_suffix(".json"))
        folder = read_annotations(tmp_path)
        assert [image.name for image in folder.images] == ["a/photo.png", "b/photo.png", "photo.png"]
        assert all(image.labels == ("six",) for image in folder.images)

    def test_hidden_files_and_folders_are_left_out(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photo.png")
        write_image(tmp_path / ".cache" / "thumb.png")
        (tmp_path / "._photo.png").write_bytes(b"resource fork")
        (tmp_path / ".state.json").write_text("{")
        assert the_image(read_annotations(tmp_path)).name == "photo.png"

    def test_a_hidden_folder_may_hold_the_data_set(self, tmp_path: Path) -> None:
        write_image(tmp_path / ".hidden" / "photo.png")
        assert the_image(read_annotations(tmp_path / ".hidden")).name == "photo.png"

    def test_files_that_are_no_labels_are_named(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photo.png")
        (tmp_path / "README.md").write_text("notes")
        (tmp_path / "classes.txt").write_text("six")
        (tmp_path / "list.json").write_text("[1, 2]")
        found = read_annotations(tmp_path)
        assert the_image(found).name == "photo.png"
        assert [fault.file for fault in found.unused] == ["README.md", "classes.txt", "list.json"]

    def test_an_empty_folder_is_an_empty_data_set(self, tmp_path: Path) -> None:
        assert read_annotations(tmp_path).images == ()
        assert read_annotations(tmp_path).faults == ()

    def test_no_folder_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(AnnotationError, match="is not a folder"):
            read_annotations(tmp_path / "nothing")
        with pytest.raises(AnnotationError, match="is not a folder"):
            read_annotations(write_image(tmp_path / "photo.png"))

    def test_a_byte_order_mark_is_read(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photo.png")
        path = write_json(tmp_path / "photo.json")
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert the_image(read_annotations(tmp_path)).labels == ("six",)


class TestEmbeddedImage:
    def test_it_is_used_when_the_image_file_is_missing(self, tmp_path: Path) -> None:
        write_json(tmp_path / "photo.json", imageData=encoded("red"))
        image = the_image(read_annotations(tmp_path))
        assert (image.name, image.image_path, image.size_wh) == ("photo.json", None, (WIDTH, HEIGHT))
        assert image.boxes_xyxy.tolist() == [BOX]
        np.testing.assert_array_equal(load_pixels(image), np.full((HEIGHT, WIDTH, 3), (255, 0, 0), np.uint8))

    def test_the_image_file_comes_first(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photo.png", "blue")
        write_json(tmp_path / "photo.json", imageData=encoded("red"))
        assert load_pixels(the_image(read_annotations(tmp_path)))[0, 0].tolist() == [0, 0, 255]

    def test_it_is_upright_as_it_is_stored(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # LabelMe shows embedded data without looking at this
        write_json(tmp_path / "photo.json", imageData=encoded("red", exif=exif), imageWidth=WIDTH, imageHeight=HEIGHT)
        assert the_image(read_annotations(tmp_path)).size_wh == (WIDTH, HEIGHT)

    def test_a_broken_one_is_a_fault_of_the_json(self, tmp_path: Path) -> None:
        write_json(tmp_path / "photo.json", imageData=base64.b64encode(b"no picture").decode())
        assert reasons(read_annotations(tmp_path)) == {"photo.json": "not an image that Pillow reads"}


def test_a_photo_turned_by_exif_agrees_with_points_in_the_turned_picture(tmp_path: Path) -> None:
    # Upright: 30 wide, 40 high, with a red rectangle at x 3..13, y 21..37. The camera stored it lying (orientation 6).
    upright = np.full((40, 30, 3), 255, np.uint8)
    upright[21:37, 3:13] = (255, 0, 0)
    stored = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(tmp_path / "photo.jpg", exif=exif, quality=95, subsampling=0)
    with Image.open(tmp_path / "photo.jpg") as file:
        assert file.size == (40, 30)
    # LabelMe shows the photo upright and saves the points and the size of what it shows.
    shape = {"label": "red", "points": [[3, 21], [13, 37]], "shape_type": "rectangle"}
    write_json(tmp_path / "photo.json", shape, imagePath="photo.jpg", imageWidth=30, imageHeight=40)

    image = the_image(read_annotations(tmp_path))
    pixels = load_pixels(image)

    assert image.size_wh == (30, 40)
    red = (pixels[..., 0] > 180) & (pixels[..., 1] < 80)
    ys, xs = np.nonzero(red)
    assert image.boxes_xyxy[0].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


class TestShapes:
    def test_boxes_without_area_are_dropped_and_counted(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photo.png")
        outside = {**RECTANGLE, "points": [[100, 100], [120, 120]]}
        flat = {**RECTANGLE, "points": [[5, 5], [5, 25]]}
        write_json(tmp_path / "photo.json", outside, RECTANGLE, flat)
        folder = read_annotations(tmp_path)
        assert folder.dropped == 2
        assert the_image(folder).boxes_xyxy.tolist() == [BOX]

    def test_shapes_that_are_no_area_are_passed_over_and_counted(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photo.png")
        point = {"label": "p", "points": [[5, 5]], "shape_type": "point"}
        line = {"label": "l", "points": [[5, 5], [9, 9]], "shape_type": "line"}
        write_json(tmp_path / "photo.json", point, line, RECTANGLE, point)
        folder = read_annotations(tmp_path)
        assert dict(folder.ignored_shapes) == {"point": 2, "line": 1}
        assert the_image(folder).labels == ("six",)

    def test_boxes_and_labels_keep_the_order_of_the_file(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photo.png")
        shapes = [{**RECTANGLE, "label": label, "points": [[0, 0], [i, 9]]} for i, label in enumerate("cab", 1)]
        write_json(tmp_path / "photo.json", *shapes)
        image = the_image(read_annotations(tmp_path))
        assert image.labels == ("c", "a", "b")
        assert image.boxes_xyxy[:, 2].tolist() == [1, 2, 3]

    @pytest.mark.parametrize(
        ("groups", "labels", "boxes"),
        [
            ([1, 1], ["bar", "bar"], [[2, 3, 30, 20]]),
            ([0, 0], ["bar", "bar"], [[2, 3, 30, 20]]),
            ([1, 2], ["bar", "bar"], [[2, 3, 10, 9], [20, 8, 30, 20]]),
            ([1, 1], ["bar", "nut"], [[2, 3, 10, 9], [20, 8, 30, 20]]),
            ([None, None], ["bar", "bar"], [[2, 3, 10, 9], [20, 8, 30, 20]]),
        ],
    )
    def test_shapes_of_one_label_and_group_are_one_object(
        self, tmp_path: Path, groups: list[int | None], labels: list[str], boxes: list[list[float]]
    ) -> None:
        write_image(tmp_path / "photo.png")
        corners = [[[2, 3], [10, 9]], [[20, 8], [30, 20]]]
        rows = zip(corners, groups, labels, strict=True)
        write_json(
            tmp_path / "photo.json",
            *({**RECTANGLE, "points": points, "group_id": group, "label": label} for points, group, label in rows),
        )
        found = read_annotations(tmp_path)
        assert the_image(found).boxes_xyxy.tolist() == boxes
        assert len(found.remarks) == 2 - len(boxes)

    def test_flags_that_are_set_are_kept(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photo.png")
        write_json(tmp_path / "photo.json", {**RECTANGLE, "difficult": True, "flags": {"blurred": True, "dark": False}})
        found = read_annotations(tmp_path, ReadOptions(with_difficult=True))
        assert the_image(found).flags == (frozenset({"difficult", "blurred"}),)

    @pytest.mark.parametrize(
        ("mark", "is_ignored"),
        [
            ({"flags": {"ignore": True}}, True),
            ({"flags": {"ignore": False}}, False),
            ({"difficult": True}, True),
            ({"label": "__ignore__"}, True),
            ({}, False),
        ],
    )
    def test_a_mark_makes_an_ignored_box(self, tmp_path: Path, mark: dict[str, Any], *, is_ignored: bool) -> None:
        write_image(tmp_path / "photo.png")
        write_json(tmp_path / "photo.json", {**RECTANGLE, **mark}, {**RECTANGLE, "points": [[-5, 0], [9, 9]]})
        image = the_image(read_annotations(tmp_path))
        assert image.ignored_xyxy.tolist() == ([BOX] if is_ignored else [])
        assert image.boxes_xyxy.tolist() == ([] if is_ignored else [BOX]) + [[0, 0, 9, 9]]
        assert image.ignored_xyxy.dtype == np.float32
        assert [item.label for item in image.ignored] == [mark.get("label", "six")] * is_ignored

    def test_pixels_may_count_from_1(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photo.png")
        write_json(tmp_path / "photo.json")
        assert the_image(read_annotations(tmp_path, ReadOptions(pixel_origin=1))).boxes_xyxy.tolist() == [
            [4, 5, 15, 26]
        ]

    @pytest.mark.parametrize("folder", ["labels", "Annotations", "ann"])
    def test_json_may_lie_in_a_folder_of_labels(self, tmp_path: Path, folder: str) -> None:
        write_image(tmp_path / "images" / "photo.png")
        write_json(tmp_path / folder / "photo.json", imagePath="photo.png")
        assert the_image(read_annotations(tmp_path)).labels == ("six",)

    def test_folders_and_lists_give_the_split(self, tmp_path: Path) -> None:
        for name in ("train/a", "val/b"):
            write_image(tmp_path / f"{name}.png")
            write_json(tmp_path / f"{name}.json")
        assert [image.splits for image in read_annotations(tmp_path).images] == [("train",), ("val",)]
        (tmp_path / "train").rename(tmp_path / "one")
        (tmp_path / "val").rename(tmp_path / "two")
        (tmp_path / "train.txt").write_text("a\n")
        (tmp_path / "test.txt").write_text("two/b.png\n")
        assert [image.splits for image in read_annotations(tmp_path).images] == [("train",), ("test",)]


def test_summary_has_one_line_for_each_kind_of_fault() -> None:
    lost = [
        Fault("a.json", f"images[{i}]: file_name 'p{i}.jpg': no such image file, but there is 'p{i}.png'")
        for i in range(339)
    ]
    bare = [Fault(f"{name}.png", "has no label file") for name in "abcde"]
    labels = [Fault("x.json", f"label {name!r} is not a class") for name in ("nut", "bolt")]
    assert summary([*lost, *bare, *labels]) == [
        f"a.json: {lost[0].reason} (and 338 faults like it)",
        "a.png, b.png, c.png and 2 more files: has no label file",
        "x.json: label 'nut' is not a class",
        "x.json: label 'bolt' is not a class",
    ]


class TestFaults:
    def test_all_faults_are_reported_at_once(self, tmp_path: Path) -> None:
        write_image(tmp_path / "good.png")
        write_json(tmp_path / "good.json")
        write_image(tmp_path / "bad_json.png")
        (tmp_path / "bad_json.json").write_text("{")
        write_image(tmp_path / "bad_shape.png")
        write_json(tmp_path / "bad_shape.json", RECTANGLE, {"label": "one", "points": [[1, 2]], "shape_type": "spiral"})
        write_image(tmp_path / "swapped.png")
        write_json(tmp_path / "swapped.json", imageWidth=HEIGHT, imageHeight=WIDTH)
        (tmp_path / "unreadable.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more than that")
        write_json(tmp_path / "sub" / "lost.json", imagePath="nowhere.jpg")
        (tmp_path / "broken.json").write_text("[")
        write_image(tmp_path / "foreign.png")
        (tmp_path / "foreign.json").write_text('{"objects": []}')
        (tmp_path / "latin.json").write_bytes('{"shapes": "größe"}'.encode("latin-1"))

        folder = read_annotations(tmp_path)

        assert [image.name for image in folder.images] == ["good.png"]
        found = reasons(folder)
        assert list(found) == [
            "bad_json.json",
            "bad_shape.json",
            "broken.json",
            "foreign.json",
            "latin.json",
            "sub/lost.json",
            "swapped.json",
            "unreadable.jpg",
        ]
        assert found["bad_json.json"].startswith("not JSON")
        assert found["bad_shape.json"].startswith("shapes[1] (one): shape type 'spiral' is unknown")
        assert found["broken.json"].startswith("not JSON")
        assert 'no list "shapes"' in found["foreign.json"]
        assert "codec can't decode" in found["latin.json"]
        assert "imagePath 'nowhere.jpg' leads to none" in found["sub/lost.json"]
        assert found["swapped.json"] == "imageWidth x imageHeight is 30x40, but the upright image is 40x30"
        assert str(folder.faults[0]).startswith("bad_json.json: not JSON")

    @pytest.mark.parametrize("keys", [{"imageWidth": WIDTH + 1}, {"imageHeight": HEIGHT - 1}])
    def test_one_wrong_length_is_enough(self, tmp_path: Path, keys: dict[str, int]) -> None:
        write_image(tmp_path / "photo.png")
        write_json(tmp_path / "photo.json", **keys)
        assert list(reasons(read_annotations(tmp_path))) == ["photo.json"]

    def test_two_images_of_one_stem(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photo.png")
        write_image(tmp_path / "photo.bmp")
        write_json(tmp_path / "photo.json")
        folder = read_annotations(tmp_path)
        assert "same stem as photo.bmp" in reasons(folder)["photo.png"]
        assert [image.name for image in folder.images] == ["photo.bmp"]

    def test_an_image_that_does_not_decode_is_named_though_the_json_is_sound(self, tmp_path: Path) -> None:
        (tmp_path / "photo.jpg").write_bytes(b"no image")
        write_json(tmp_path / "photo.json")
        assert reasons(read_annotations(tmp_path)) == {"photo.jpg": "not an image that Pillow reads"}

    def test_a_truncated_image_is_a_fault(self, tmp_path: Path) -> None:
        path = tmp_path / "photo.jpg"
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:-500])
        assert reasons(read_annotations(tmp_path))["photo.jpg"].startswith("the image does not decode")

    def test_a_file_that_vanishes_after_reading_is_an_os_error(self, tmp_path: Path) -> None:
        path = write_image(tmp_path / "photo.png")
        image = the_image(read_annotations(tmp_path))
        path.unlink()
        with pytest.raises(FileNotFoundError):
            load_pixels(image)


def test_a_copy_elsewhere_reads_the_same(tmp_path: Path) -> None:
    write_image(tmp_path / "first" / "photo.png")
    write_json(tmp_path / "first" / "photo.json", imagePath=str(tmp_path / "first" / "photo.png"))
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    first, second = (the_image(read_annotations(tmp_path / name)) for name in ("first", "second"))
    assert (first.name, first.labels) == (second.name, second.labels)
    assert second.image_path == tmp_path / "second" / "photo.png"
