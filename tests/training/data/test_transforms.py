from dataclasses import replace

import pytest
import torch

from training.config import TrainConfig
from training.data.transforms import (
    Sample,
    Zoom,
    add_noise,
    augmentation,
    blur,
    change_light,
    compress,
    distort_colours,
    flip_horizontally,
    flip_vertically,
    turn,
    zoom_to,
)


def sample(*boxes: tuple[int, int, int, int], height: int = 40, width: int = 60) -> Sample:
    """An image that is white inside the boxes and black elsewhere."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    for x0, y0, x1, y1 in boxes:
        image[:, y0:y1, x0:x1] = 255
    return Sample(
        image, torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.ones(len(boxes), dtype=torch.int64), 0
    )


def white_extent(image: torch.Tensor) -> list[int]:
    rows, columns = torch.nonzero(image[0] > 127, as_tuple=True)
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]


@pytest.mark.parametrize(
    "move",
    [
        flip_horizontally,
        flip_vertically,
        lambda s: turn(s, quarters=1),
        lambda s: turn(s, quarters=2),
        lambda s: turn(s, quarters=3),
    ],
)
def test_boxes_move_with_pixels(move: object) -> None:
    moved = move(sample((5, 7, 21, 17)))  # type: ignore[operator]
    assert moved.boxes_xyxy[0].tolist() == white_extent(moved.image)


@pytest.mark.parametrize("flip", [flip_horizontally, flip_vertically])
def test_flipping_twice_changes_nothing(flip: object) -> None:
    once = sample((5, 7, 21, 17), (0, 0, 3, 3))
    twice = flip(flip(once))  # type: ignore[operator]
    assert torch.equal(twice.image, once.image)
    assert torch.equal(twice.boxes_xyxy, once.boxes_xyxy)


def test_four_quarters_change_nothing() -> None:
    once = sample((5, 7, 21, 17))
    back = turn(turn(once, quarters=1), quarters=3)
    assert torch.equal(back.image, once.image)
    assert torch.equal(back.boxes_xyxy, once.boxes_xyxy)


def test_quarter_turn_by_hand() -> None:
    # 60 wide, 40 high; counter-clockwise: the right edge becomes the top
    assert turn(sample((50, 10, 60, 20)), quarters=1).boxes_xyxy[0].tolist() == [10, 0, 20, 10]


def test_zoom_in_scales_boxes_of_window() -> None:
    zoomed = zoom_to(sample((20, 10, 30, 20)), top=0, left=10, window_hw=(20, 30), min_visible=0.5)
    assert zoomed.size_hw == (40, 60)
    assert zoomed.boxes_xyxy[0].tolist() == [20, 20, 40, 40] == white_extent(zoomed.image)


def test_zoom_out_surrounds_image() -> None:
    torch.manual_seed(0)
    zoomed = zoom_to(sample((0, 0, 60, 40)), top=-20, left=-30, window_hw=(80, 120), min_visible=0.5)
    assert zoomed.boxes_xyxy[0].tolist() == [15, 10, 45, 30]
    assert zoomed.image[:, 12:28, 17:43].min() == 255
    assert zoomed.image[:, 0, 0].tolist() == zoomed.image[:, -1, -1].tolist() != [255, 255, 255]


@pytest.mark.parametrize(("min_visible", "kept"), [(0.4, 1), (0.6, 0)])
def test_drops_boxes_cut_too_far(min_visible: float, kept: int) -> None:
    zoomed = zoom_to(sample((0, 0, 20, 20)), top=0, left=10, window_hw=(20, 30), min_visible=min_visible)
    assert len(zoomed.boxes_xyxy) == len(zoomed.labels) == kept


@pytest.mark.parametrize("boxes", [[], [(5, 7, 21, 17), (0, 0, 60, 40)]])
def test_augmentations_keep_size_type_and_valid_boxes(boxes: list[tuple[int, int, int, int]]) -> None:
    config = TrainConfig(
        architecture="fasterrcnn_mobilenet_v2_fpn",
        vertical_flip=0.5,
        photometric=1.0,
        blur=0.5,
        noise=0.5,
        jpeg=0.5,
        scale_jitter=(0.4, 2.5),
        min_visible=0.1,
    )
    augment = augmentation(config)
    for seed in range(30):
        torch.manual_seed(seed)
        result = augment(sample(*boxes))
        assert result.image.dtype == torch.uint8
        assert type(result.image) is type(result.boxes_xyxy) is torch.Tensor
        assert result.size_hw == (40, 60)
        assert result.boxes_xyxy.shape == (len(result.labels), 4)
        assert (result.boxes_xyxy[:, 2:] > result.boxes_xyxy[:, :2]).all()
        assert (result.boxes_xyxy >= 0).all()
        assert (result.boxes_xyxy <= torch.tensor([60, 40, 60, 40])).all()


@pytest.mark.parametrize("spoil", [distort_colours, change_light, blur, add_noise, compress])
def test_camera_effects_keep_boxes(spoil: object) -> None:
    torch.manual_seed(3)
    before = sample((5, 7, 21, 17))
    pattern = torch.randint(0, 256, before.image.shape, dtype=torch.uint8)
    before = Sample(pattern, before.boxes_xyxy, before.labels, before.index)
    after = [spoil(before) for _ in range(4)]  # type: ignore[operator]
    assert all(torch.equal(item.boxes_xyxy, before.boxes_xyxy) for item in after)
    assert all(item.image.dtype == torch.uint8 and item.image.shape == pattern.shape for item in after)
    assert any(not torch.equal(item.image, pattern) for item in after)
    assert type(after[0].image) is torch.Tensor


def test_blur_smooths_and_noise_roughens() -> None:
    torch.manual_seed(0)
    white = sample((20, 10, 40, 30))

    def roughness(image: torch.Tensor) -> float:
        return float(image.float().diff(dim=2).abs().max())

    assert roughness(blur(white).image) < roughness(white.image)
    flat = sample((0, 0, 60, 40))
    assert float(add_noise(flat).image.float().std()) > 0 == float(flat.image.float().std())


def test_no_augmentation_keeps_sample() -> None:
    config = TrainConfig(horizontal_flip=0, photometric=0, scale_jitter=(1, 1))
    once = sample((5, 7, 21, 17))
    assert augmentation(config)(once) is once


def test_zoom_of_one_changes_nothing() -> None:
    once = sample((5, 7, 21, 17))
    same = Zoom(1.0, 1.0, min_visible=0.5)(once)
    assert torch.equal(same.boxes_xyxy, once.boxes_xyxy)
    assert torch.equal(same.image, once.image)


def test_stretch_scales_axes_apart() -> None:
    stretched = zoom_to(sample((20, 10, 40, 30)), top=0, left=0, window_hw=(40, 60), out_hw=(40, 120), min_visible=0.5)
    assert stretched.size_hw == (40, 120)
    assert stretched.boxes_xyxy[0].tolist() == [40, 10, 80, 30] == white_extent(stretched.image)


def test_stretch_stays_within_limit() -> None:
    zoom = Zoom(0.5, 0.5, min_visible=0.1, most_stretch=1.5)
    ratios = []
    for seed in range(40):
        torch.manual_seed(seed)
        x0, y0, x1, y1 = zoom(sample((20, 10, 40, 30))).boxes_xyxy[0].tolist()
        ratios.append((x1 - x0) / (y1 - y0))
    assert 1 / 1.6 < min(ratios) < 0.8
    assert 1.25 < max(ratios) < 1.6


def test_crop_is_square_and_mostly_shows_an_object() -> None:
    zoom = Zoom(1.0, 1.0, min_visible=0.5, crop_px=16)
    shown = 0
    for seed in range(40):
        torch.manual_seed(seed)
        cropped = zoom(sample((2, 2, 12, 12), (30, 20, 40, 30)))
        assert cropped.size_hw == (16, 16)
        if len(cropped.boxes_xyxy):
            assert cropped.boxes_xyxy[0].tolist() == white_extent(cropped.image)
            shown += 1
    assert shown >= 20


def test_crop_of_empty_image() -> None:
    cropped = Zoom(1.0, 1.0, min_visible=0.5, crop_px=80)(sample())
    assert cropped.size_hw == (80, 80)
    assert cropped.boxes_xyxy.shape == (0, 4)


def test_crop_has_scale_of_detector_input() -> None:
    halved = Zoom(1.0, 1.0, min_visible=0.5, crop_px=40, input_px=(20, 30))  # 40x60 is resized to 20x30
    torch.manual_seed(0)
    x0, y0, x1, y1 = halved(sample((20, 10, 40, 30))).boxes_xyxy[0].tolist()
    assert (x1 - x0, y1 - y0) == (10, 10)


def test_keep_colours_never_swaps_channels() -> None:
    red = sample((5, 7, 21, 17))
    red = replace(red, image=torch.tensor([200, 60, 40], dtype=torch.uint8)[:, None, None].expand(3, 40, 60))
    brightest = {}
    for keeps in (True, False):
        config = TrainConfig(horizontal_flip=0, photometric=1, scale_jitter=(1, 1), keep_colours=keeps)
        torch.manual_seed(0)
        means = [augmentation(config)(red).image.float().mean(dim=(1, 2)) for _ in range(40)]
        brightest[keeps] = {int(mean.argmax()) for mean in means}
        assert len({round(float(mean.sum())) for mean in means}) > 10
    assert brightest == {True: {0}, False: {0, 1, 2}}
