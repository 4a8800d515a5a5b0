"""Piles in Blender itself: things come to rest on the ground and on one another, the same ones for every camera."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.blender.test_render import PAWN, PYTHON, pawn, small, write_stl
from training.synthetic import sensor
from training.synthetic.annotate import annotate
from training.synthetic.piles import MeshObject, Pile, draw_pile, settle
from training.synthetic.recipes import meshes
from training.synthetic.renderer import Blender
from training.synthetic.scene import Mesh, Surface

pytestmark = [pytest.mark.blender, pytest.mark.timeout(300)]

GREY = Surface("plain", (0.3, 0.3, 0.3), (0.3, 0.3, 0.3), 1.0, roughness=0.6)
OBJECTS = [MeshObject(str(PAWN), "pawn")]


@pytest.fixture(scope="module")
def blender() -> Iterator[Blender]:
    assert PYTHON.exists(), "Blender is missing; make it with: make render-env"
    with Blender(PYTHON, threads=2) as process:
        yield process


def pawns(places: Sequence[tuple[float, float]], source: Path = PAWN) -> Pile:
    turns = [(0.5, 0.5, 0.5, 0.5), (0.8, 0.0, 0.6, 0.0), (0.6, 0.0, 0.0, 0.8)]
    falling = [
        Mesh("pawn", str(source), (*place, 0.0), turns[number % 3], 0.0, GREY) for number, place in enumerate(places)
    ]
    return Pile(100.0, GREY, None, (), tuple(falling))


def corners(thing: Mesh) -> NDArray[np.float64]:
    """The pawn's vertices in the world."""
    points = pawn()[0][:, [0, 2, 1]] * (1, -1, 1)  # Blender turns y of an OBJ up
    points = (points - (points.min(axis=0) + points.max(axis=0)) / 2) * thing.scale
    w, *v = thing.turn
    axis = np.array(v)
    return points + 2 * np.cross(axis, np.cross(axis, points) + w * points) + thing.position


def shapes(pile: Pile) -> list[NDArray[np.float64]]:
    return [corners(thing) for thing in pile.falling if isinstance(thing, Mesh)]


def test_things_lie_on_the_ground(blender: Blender) -> None:
    settled = settle(blender, pawns([(0, 0), (3, 0), (0, 3)]), [str(PAWN)])
    for points in shapes(settled):
        assert points[:, 2].min() == pytest.approx(0, abs=0.03)
        assert np.ptp(points, axis=0).max() == pytest.approx(1, abs=0.25)


def test_a_heap_is_higher_than_one_thing(blender: Blender) -> None:
    pile = replace(pawns([(0.1 * (n % 3), 0.1 * (n % 4)) for n in range(12)]), funnel=0.7)
    heap = shapes(settle(blender, pile, [str(PAWN)]))
    assert min(points[:, 2].min() for points in heap) > -0.03
    assert max(points[:, 2].max() for points in heap) > 1.2
    middles = np.array([(points.min(axis=0) + points.max(axis=0)) / 2 for points in heap])
    apart = np.linalg.norm(middles[:, None] - middles[None], axis=2) + np.eye(len(heap))
    assert apart.min() > 0.25


def test_the_same_seed_gives_the_same_poses(blender: Blender) -> None:
    pile = draw_pile(OBJECTS, 4)
    with Blender(PYTHON, threads=1) as other:
        assert settle(blender, pile, [str(PAWN)]) == settle(other, pile, [str(PAWN)])


def test_meshes_keep_their_relative_sizes(blender: Blender, tmp_path: Path) -> None:
    large = tmp_path / "large.stl"
    write_stl(large, 4 * pawn()[0], pawn()[1])
    pile = replace(pawns([(0, 0)]), falling=(*pawns([(0, 0)]).falling, *pawns([(5, 0)], large).falling))
    settled = settle(blender, pile, [str(PAWN), str(large)])
    first, second = (thing.scale for thing in settled.falling)
    assert first == pytest.approx(second)
    assert 1.18 * first == pytest.approx(0.5)  # the typical extent is one unit: 0.5 and 2
    assert settled.radii[1] == pytest.approx(4 * settled.radii[0], rel=0.01)


def test_cameras_see_the_same_poses_without_physics(blender: Blender) -> None:
    recipe = meshes(OBJECTS)
    specs = [small(recipe.draw(seed, 0, blender)) for seed in range(3)]
    assert [spec.things for spec in specs] == [specs[0].things] * 3
    with Blender(PYTHON, threads=2) as other:  # it has settled nothing
        shown = [other.render(spec).index for spec in specs]
    assert any(index.any() for index in shown)
    np.testing.assert_array_equal(blender.render(specs[2]).index, shown[2])


def test_most_pictures_show_an_object_and_few_are_clipped(blender: Blender) -> None:
    recipe, labelled, clipped = meshes(OBJECTS), 0, []
    for seed in range(0, 24, 3):
        spec = recipe.draw(seed, 0, blender)
        rendering = blender.render(replace(spec, camera=replace(spec.camera, size_px=320), samples=1))
        found = annotate(rendering.index, rendering.outlines, ["pawn"] * len(spec.labelled), may_hide=True)
        labelled += any(not item.is_ignored for item in found)
        with Image.open(BytesIO(sensor.develop(rendering.light, spec.sensor, is_metered=True))) as picture:
            clipped.append((np.asarray(picture).max(axis=2) >= 250).mean())
    assert labelled >= 6
    assert sorted(clipped)[-2] < 0.05  # a lamp may be in view once
