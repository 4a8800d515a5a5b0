import numpy as np

from benchmarks.parity import RENDERS
from benchmarks.tiles import FRAME_WH, OBJECT_PX, frames
from training.data.dataset import read_dataset


def test_frames_show_small_objects() -> None:
    data = read_dataset(RENDERS)
    (frame,) = frames(data, 1)
    boxes = frame.truth.boxes_xyxy
    assert frame.pixels.shape == (FRAME_WH[1], FRAME_WH[0], 3)
    assert len(boxes) == len(frame.truth.labels) > 24
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= FRAME_WH).all()
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    assert OBJECT_PX[0] <= np.median(sides) <= OBJECT_PX[1]
    (again,) = frames(data, 1)
    np.testing.assert_array_equal(again.pixels, frame.pixels)
