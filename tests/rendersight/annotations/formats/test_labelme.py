"""LabelMe files <-> boxes, by examples worked out by hand."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rendersight.annotations import AnnotationError
from rendersight.annotations.formats.labelme import IGNORED_SHAPE_TYPES, Shape, detections_to_json, parse, shape_to_xyxy
from rendersight.detections import Detections

SIZE_WH = (100, 80)


def box_of(shape_type: str, *points: tuple[float, float], size_wh: tuple[int, int] = SIZE_WH) -> list[float] | None:
    box = shape_to_xyxy(Shape("a", points, shape_type), size_wh=size_wh)
    if box is None:
        return None
    assert box.dtype == np.float32
    assert box.shape == (4,)
    return [float(value) for value in box]


class TestShapes:
    def test_a_rectangle_is_two_opposite_corners(self) -> None:
        assert box_of("rectangle", (10, 20), (30, 50)) == [10, 20, 30, 50]

    def test_a_rectangle_drawn_from_the_bottom_right_is_the_same(self) -> None:
        assert box_of("rectangle", (30, 20), (10, 50)) == [10, 20, 30, 50]

    def test_x_anylabelings_rectangle_has_four_corners(self) -> None:
        assert box_of("rectangle", (10, 20), (30, 20), (30, 50), (10, 50)) == [10, 20, 30, 50]

    def test_a_polygon_gives_its_extent(self) -> None:
        assert box_of("polygon", (20, 10), (40, 30.5), (5.25, 25)) == [5.25, 10, 40, 30.5]

    @pytest.mark.parametrize("name", ["rotation", "oriented_rectangle", "quadrilateral"])
    def test_a_turned_rectangle_gives_its_extent(self, name: str) -> None:
        assert box_of(name, (50, 10), (70, 30), (50, 50), (30, 30)) == [30, 10, 70, 50]

    def test_a_cuboid_gives_the_extent_of_both_faces(self) -> None:
        front = [(10, 20), (30, 20), (30, 40), (10, 40)]
        back = [(15, 10), (35, 10), (35, 30), (15, 30)]
        assert box_of("cuboid", *front, *back) == [10, 10, 35, 40]

    def test_a_circle_is_its_centre_and_a_point_on_the_edge(self) -> None:
        # 3-4-5: the radius is 5
        assert box_of("circle", (50, 40), (53, 44)) == [45, 35, 55, 45]

    def test_a_mask_ends_behind_its_last_pixel(self) -> None:
        assert box_of("mask", (10, 20), (10, 20)) == [10, 20, 11, 21]
        assert box_of("mask", (0, 0), (99, 79)) == [0, 0, 100, 80]

    def test_an_outside_part_is_cut_off(self) -> None:
        assert box_of("rectangle", (-10, 60), (20, 95)) == [0, 60, 20, 80]
        assert box_of("circle", (98, 2), (98, 7)) == [93, 0, 100, 7]

    def test_the_whole_frame_may_be_a_box(self) -> None:
        assert box_of("rectangle", (-1, -1), (101, 81)) == [0, 0, 100, 80]

    @pytest.mark.parametrize(
        "corners",
        [
            ((10, 20), (10, 50)),  # no width
            ((10, 20), (30, 20)),  # no height
            ((5, 5), (5, 5)),
            ((-9, 10), (0, 20)),  # ends where the image begins
            ((100, 10), (120, 20)),  # begins where the image ends
            ((10, 90), (20, 95)),
            ((10, 20), (10 + 1e-9, 50)),  # no width in float32
        ],
    )
    def test_without_an_area_inside_the_image_there_is_no_box(
        self, corners: tuple[tuple[float, float], tuple[float, float]]
    ) -> None:
        assert box_of("rectangle", *corners) is None

    @pytest.mark.parametrize(
        ("shape_type", "count", "message"),
        [
            ("rectangle", 1, "2 or 4 points, this one has 1"),
            ("rectangle", 3, "2 or 4 points, this one has 3"),
            ("circle", 1, "circle has 2 points"),
            ("circle", 3, "circle has 2 points"),
        ],
    )
    def test_a_wrong_number_of_points(self, shape_type: str, count: int, message: str) -> None:
        with pytest.raises(AnnotationError, match=message):
            box_of(shape_type, *[(float(i), float(i)) for i in range(count)])

    def test_an_unknown_type_is_named_with_those_accepted(self) -> None:
        with pytest.raises(AnnotationError, match=r"'spiral' is unknown; accepted: rectangle, .*linestrip"):
            box_of("spiral", (1, 2), (3, 4))

    def test_the_types_without_area(self) -> None:
        assert set(IGNORED_SHAPE_TYPES) == {"point", "points", "line", "linestrip"}


COORDINATE = st.floats(-50, 150, width=32)


@settings(max_examples=60, deadline=None)
@given(COORDINATE, COORDINATE, COORDINATE, COORDINATE)
def test_the_order_of_corners_does_not_matter(x0: float, y0: float, x1: float, y1: float) -> None:
    box = box_of("rectangle", (x0, y0), (x1, y1))
    assert box == box_of("rectangle", (x1, y1), (x0, y0))
    assert box == box_of("rectangle", (x0, y1), (x1, y0))
    assert box == box_of("rectangle", (x0, y0), (x1, y0), (x1, y1), (x0, y1))
    assert box == box_of("polygon", (x0, y0), (x1, y1))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["polygon", "rotation", "circle"]),
    st.lists(st.tuples(COORDINATE, COORDINATE), min_size=2, max_size=2),
)
def test_a_box_lies_inside_the_image_and_has_an_area(shape_type: str, points: list[tuple[float, float]]) -> None:
    box = box_of(shape_type, *points)
    if box is not None:
        x0, y0, x1, y1 = box
        assert 0 <= x0 < x1 <= SIZE_WH[0]
        assert 0 <= y0 < y1 <= SIZE_WH[1]


def labelme(*shapes: Any, **keys: Any) -> str:
    return json.dumps({"shapes": list(shapes), "imagePath": "photo.jpg", **keys})


RECTANGLE = {"label": "six", "points": [[1, 2], [3, 4.5]], "shape_type": "rectangle"}

# one file of each generation, with the keys that it had
NO_VERSION = {
    "shapes": [{"label": "six", "line_color": None, "fill_color": None, "points": [[1, 2], [3, 4.5]]}],
    "lineColor": [0, 255, 0, 128],
    "fillColor": [255, 0, 0, 128],
    "imagePath": "photo.jpg",
    "imageData": None,
}
VERSION_3 = {
    "version": "3.16.7",
    "flags": {},
    "shapes": [{**RECTANGLE, "line_color": None, "fill_color": None, "flags": {}}],
    "lineColor": [0, 255, 0, 128],
    "fillColor": [255, 0, 0, 128],
    "imagePath": "photo.jpg",
    "imageData": None,
    "imageHeight": 80,
    "imageWidth": 100,
}
VERSION_4 = {
    "version": "4.5.6",
    "flags": {},
    "shapes": [{**RECTANGLE, "group_id": None, "flags": {}}],
    "imagePath": "photo.jpg",
    "imageData": None,
    "imageHeight": 80,
    "imageWidth": 100,
}
VERSION_5 = {
    "version": "5.5.0",
    "flags": {},
    "shapes": [{**RECTANGLE, "group_id": None, "description": "", "flags": {}, "mask": None}],
    "imagePath": "photo.jpg",
    "imageData": None,
    "imageHeight": 80,
    "imageWidth": 100,
}
X_ANYLABELING = {
    "version": "2.4.4",
    "flags": {},
    "checked": False,
    "shapes": [
        {
            "kie_linking": [],
            "label": "six",
            "score": 0.91,
            "points": [[1, 2], [3, 2], [3, 4.5], [1, 4.5]],
            "group_id": None,
            "description": None,
            "difficult": False,
            "shape_type": "rectangle",
            "flags": None,
            "attributes": {},
        }
    ],
    "imagePath": "photo.jpg",
    "imageData": None,
    "imageHeight": 80,
    "imageWidth": 100,
    "text": "",
}


class TestParse:
    @pytest.mark.parametrize(
        "document",
        [NO_VERSION, VERSION_3, VERSION_4, VERSION_5, X_ANYLABELING],
        ids=["no version", "3", "4", "5", "X-AnyLabeling"],
    )
    def test_every_generation_gives_the_same_box(self, document: dict[str, Any]) -> None:
        parsed = parse(json.dumps(document))
        (shape,) = parsed.shapes
        assert shape.label == "six"
        assert box_of(shape.shape_type, *shape.points) == [1, 2, 3, 4.5]
        assert parsed.image_path == "photo.jpg"
        assert parsed.image_data is None
        assert parsed.size_wh == ((None, None) if "version" not in document else (100, 80))

    @pytest.mark.parametrize("keys", [{}, {"shape_type": None}, {"shape_type": ""}])
    def test_a_shape_without_type_is_a_polygon(self, keys: dict[str, Any]) -> None:
        shape = {"label": "a", "points": [[0, 0], [4, 1], [2, 9]], **keys}
        assert parse(labelme(shape)).shapes[0].shape_type == "polygon"

    def test_no_shapes_are_no_shapes(self) -> None:
        assert parse(labelme()).shapes == ()

    def test_embedded_image_data_is_decoded(self) -> None:
        assert parse(labelme(imageData=base64.b64encode(b"pixels").decode())).image_data == b"pixels"
        assert parse(labelme(imageData="")).image_data is None

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "not JSON"),
            ("{", "not JSON"),
            ("[" * 100_000, "not JSON"),
            ("[]", 'no list "shapes"'),
            ("{}", 'no list "shapes"'),
            ('{"shapes": null}', 'no list "shapes"'),
            ('{"shapes": {"a": 1}}', 'no list "shapes"'),
        ],
    )
    def test_what_is_no_labelme_file_is_refused(self, text: str, message: str) -> None:
        with pytest.raises(AnnotationError, match=message):
            parse(text)

    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            (7, "is not a JSON object"),
            ({"points": [[1, 2], [3, 4]]}, "label is None"),
            ({**RECTANGLE, "label": 6}, "label is 6"),
            ({**RECTANGLE, "label": "  "}, "label is '  '"),
            ({"label": "six"}, r"\(six\): points"),
            ({**RECTANGLE, "points": []}, r"\(six\): points"),
            ({**RECTANGLE, "points": [1, 2]}, r"\(six\): points"),
            ({**RECTANGLE, "points": [[1, 2], [3]]}, r"\(six\): points"),
            ({**RECTANGLE, "points": [[1, 2, 3], [3, 4, 5]]}, r"\(six\): points"),
            ({**RECTANGLE, "points": [[1, 2], ["3", 4]]}, r"\(six\): points"),
            ({**RECTANGLE, "points": [[1, 2], [True, 4]]}, r"\(six\): points"),
            ({**RECTANGLE, "points": [[1, 2], [None, 4]]}, r"\(six\): points"),
            ({**RECTANGLE, "points": [[1, 2], [float("nan"), 4]]}, r"\(six\): points"),
            ({**RECTANGLE, "points": [[1, 2], [float("inf"), 4]]}, r"\(six\): points"),
            ({**RECTANGLE, "points": [[1, 2], [10**400, 4]]}, r"\(six\): points"),
        ],
    )
    def test_a_bad_shape_is_named_by_its_place(self, shape: Any, message: str) -> None:
        with pytest.raises(AnnotationError, match=r"^shapes\[1\].*" + message):
            parse(labelme(RECTANGLE, shape))

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ({"imagePath": 5}, "imagePath is 5"),
            ({"imageWidth": "100"}, "imageWidth is '100'"),
            ({"imageHeight": True}, "imageHeight is True"),
            ({"imageData": [1]}, r"imageData is \[1\]"),
            ({"imageData": "abcde"}, "imageData is not base64"),
            ({"imageData": "größe"}, "imageData is not base64"),
        ],
    )
    def test_a_bad_key_is_named(self, keys: dict[str, Any], message: str) -> None:
        with pytest.raises(AnnotationError, match=message):
            parse(labelme(**keys))

    def test_a_long_wrong_value_is_shortened(self) -> None:
        with pytest.raises(AnnotationError) as caught:
            parse(labelme(imageWidth="9" * 10_000))
        assert len(str(caught.value)) < 100


class TestWriting:
    FOUND = Detections.of([[10.126, 20, 30.5, 50], [0, 0, 100, 80]], [2, 1], [0.98765, 0.5])

    def write(self, found: Detections = FOUND) -> str:
        return detections_to_json(found, class_names=("one", "größe"), image_name="tray/photo.jpg", size_wh=SIZE_WH)

    def test_it_reads_back_to_the_same_boxes(self) -> None:
        parsed = parse(self.write())
        boxes = [box_of(shape.shape_type, *shape.points) for shape in parsed.shapes]
        assert boxes[0] == pytest.approx([10.13, 20, 30.5, 50])
        assert boxes[1] == [0, 0, 100, 80]
        assert [shape.label for shape in parsed.shapes] == ["größe", "one"]
        assert (parsed.image_path, parsed.image_data, parsed.size_wh) == ("tray/photo.jpg", None, (100, 80))

    def test_it_has_the_keys_that_labelme_opens(self) -> None:
        document = json.loads(self.write())
        assert set(document) == {"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"}
        assert document["version"].startswith("5.")
        shape = document["shapes"][0]
        assert set(shape) == {"label", "points", "group_id", "description", "shape_type", "flags"}
        assert shape["description"] == "score 0.988"

    def test_nothing_found_is_a_file_without_shapes(self) -> None:
        assert parse(self.write(Detections.of([], [], []))).shapes == ()


def test_a_size_written_as_a_whole_float_is_a_size() -> None:
    assert parse('{"shapes": [], "imageWidth": 640.0, "imageHeight": 480}').size_wh == (640, 480)
    with pytest.raises(AnnotationError, match=r"imageWidth is 640\.5"):
        parse('{"shapes": [], "imageWidth": 640.5}')
