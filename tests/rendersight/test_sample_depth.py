"""Samples of more than 8 bits, as `decode` reads them from files."""

import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from rendersight.images import BrokenImage, decode
from tests.rendersight.test_images import encode, png_chunk


def png_of(samples: np.ndarray, kind: int) -> bytes:
    """A PNG of 16-bit samples (H, W, C), which Pillow does not write; kind 2 is RGB, 6 RGBA (RFC 2083, 4.1.1)."""
    height, width, _ = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def tiff_of(samples: np.ndarray, order: str) -> bytes:
    """An uncompressed RGB TIFF of 16-bit samples (H, W, 3), in one strip."""
    height, width, _ = samples.shape
    tags = [(256, 4, width), (257, 4, height), (259, 4, 1), (262, 4, 2), (273, 4, 200), (277, 4, 3)]
    tags += [(278, 4, height), (279, 4, samples.nbytes)]
    entries = [struct.pack(f"{order}HHII", tag, kind, 1, value) for tag, kind, value in tags]
    entries.insert(2, struct.pack(f"{order}HHII", 258, 3, 3, 190))
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8) + directory
    depths = struct.pack(f"{order}3H", 16, 16, 16)
    return head.ljust(190, b"\0") + depths.ljust(10, b"\0") + samples.astype(f"{order}u2").tobytes()


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("samples", "grey"),
    [
        ([0x0000, 0x00FF, 0x1234, 0xFFFF], [0, 0, 0x12, 255]),
        ([0, 200, 255], [0, 200, 255]),
        ([0, 256, 1023], [0, 64, 255]),
        ([0, 15, 1024, 4095], [0, 0, 64, 255]),
        ([0, 4096, 16383], [0, 64, 255]),
        ([0, 16384], [0, 64]),
        ([0, 0], [0, 0]),
    ],
    ids=["16 bits", "8 bits", "10 bits", "12 bits", "14 bits", "dark", "black"],
)
def test_16_bit_grey_is_scaled_by_its_depth(name: str, samples: list[int], grey: list[int]) -> None:
    image = Image.fromarray(np.array([samples], np.uint16))
    assert image.mode == "I;16"
    assert decode(encode(image, name))[0, :, 0].tolist() == grey


@pytest.mark.parametrize(
    ("samples", "grey"),
    [([-5, 0, 256, 65535], [0, 0, 1, 255]), ([0, 7, 255], [0, 7, 255]), ([0, 2**23], [0, 128])],
)
def test_wide_integers_are_scaled_by_their_depth(samples: list[int], grey: list[int]) -> None:
    image = Image.fromarray(np.array([samples], np.int32))
    assert decode(encode(image, "TIFF"))[0, :, 1].tolist() == grey


@pytest.mark.parametrize("kind", [2, 6], ids=["rgb", "rgba"])
@pytest.mark.parametrize("depth", [8, 10, 12, 14, 16])
def test_16_bit_colours_are_scaled_by_their_depth(kind: int, depth: int) -> None:
    rng = np.random.default_rng(depth)
    samples = rng.integers(0, 2**depth, (6, 5, 3), np.uint16)
    samples[0, 0] = 2**depth - 1
    opaque = np.full((6, 5, 1), 0xFFFF, np.uint16)
    data = png_of(samples if kind == 2 else np.concatenate([samples, opaque], axis=2), kind)
    np.testing.assert_array_equal(decode(data), samples >> (depth - 8))


@pytest.mark.parametrize("order", ["<", ">"])
def test_colours_of_a_12_bit_tiff_are_scaled(order: str) -> None:
    samples = np.random.default_rng(0).integers(0, 4096, (6, 5, 3), np.uint16)
    samples[0, 0] = 4095
    np.testing.assert_array_equal(decode(tiff_of(samples, order)), samples >> 4)


@pytest.mark.parametrize(
    ("samples", "grey"),
    [
        ([-1e38, 0.0, 0.2, 1.0, np.nan], [0, 0, 51, 255, 0]),
        ([0.2, 1.2, np.inf, -np.inf], [51, 255, 255, 0]),
        ([0.0, 100.4, 300.0, np.inf, -np.inf], [0, 100, 255, 255, 0]),
        ([0.0, 1023.75, 4095.0], [0, 64, 255]),
        ([0.0, 4095.0, 65535.0], [0, 16, 255]),
    ],
    ids=["fractions", "overshoot", "8 bits", "12 bits", "16 bits"],
)
def test_floats_are_fractions_or_grey_values(samples: list[float], grey: list[int]) -> None:
    image = Image.fromarray(np.array([samples], np.float32))
    assert decode(encode(image, "TIFF"))[0, :, 0].tolist() == grey


@pytest.mark.parametrize("largest", [1.5, 10.0, 1e20])
def test_refuses_floats_of_unknown_scale(largest: float) -> None:
    data = encode(Image.fromarray(np.array([[0.0, largest]], np.float32)), "TIFF")
    with pytest.raises(BrokenImage, match=re.escape(f"the largest float is {largest:g}, and the scale")):
        decode(data)
