import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from training.synthetic.camera import SIZE_PX, project
from training.synthetic.piles import LARGEST, SMALLEST, MeshObject, Pile, draw_pile, view
from training.synthetic.scene import Assembly, Mesh

OBJECTS = [MeshObject("a.glb", "dragon"), MeshObject("b.obj", "knight")]


@pytest.fixture(scope="module")
def piles() -> list[Pile]:
    return [draw_pile(OBJECTS, number) for number in range(200)]


def meshes_of(pile: Pile) -> list[Mesh]:
    return [thing for thing in pile.falling if isinstance(thing, Mesh)]


def laid(pile: Pile) -> Pile:
    """The pile as if nothing moved when it fell."""
    falling = tuple(replace(thing, position=(*thing.position[:2], 0.5), scale=1.0) for thing in pile.falling)
    return replace(pile, falling=falling, radii=(0.6,) * len(falling))


def test_a_pile_depends_on_its_number(piles: Sequence[Pile]) -> None:
    assert draw_pile(OBJECTS, 7) == piles[7] != piles[8]
    assert view(laid(piles[7]), 3) == view(laid(piles[7]), 3) != view(laid(piles[7]), 4)


def test_sizes_are_log_uniform(piles: Sequence[Pile]) -> None:
    shares = np.log([pile.size_px / SIZE_PX for pile in piles])
    assert math.log(SMALLEST) <= shares.min() < shares.max() <= math.log(LARGEST)
    counts, _ = np.histogram(shares, bins=4, range=(math.log(SMALLEST), math.log(LARGEST)))
    assert counts.min() > 0.6 * len(piles) / 4


def test_draws_every_arrangement(piles: Sequence[Pile]) -> None:
    counts = [len(meshes_of(pile)) for pile in piles]
    assert 0.02 < counts.count(0) / len(piles) < 0.12
    assert counts.count(1) > 10
    assert max(counts) > 12
    assert 0.1 < sum(pile.tray is not None for pile in piles) / len(piles) < 0.4
    assert any(isinstance(thing, Assembly) and len(thing.parts) > 5 for pile in piles for thing in pile.falling)
    assert {(mesh.source, mesh.label) for pile in piles for mesh in meshes_of(pile)} == {
        ("a.glb", "dragon"),
        ("b.obj", "knight"),
    }


def test_turns_are_unit_quaternions(piles: Sequence[Pile]) -> None:
    turns = np.array([thing.turn for pile in piles for thing in pile.falling])
    np.testing.assert_allclose(np.linalg.norm(turns, axis=1), 1)


def test_objects_keep_their_colours_unless_they_come_in_all(piles: Sequence[Pile]) -> None:
    assert not any(mesh.is_repainted for pile in piles for mesh in meshes_of(pile))
    many = [draw_pile([replace(item, any_colour=True) for item in OBJECTS], number) for number in range(60)]
    some = [mesh.is_repainted for pile in many for mesh in meshes_of(pile)]
    assert 0.6 < sum(some) / len(some) < 0.9


def test_cameras_are_outside_of_all_things_and_show_one(piles: Sequence[Pile]) -> None:
    for number, pile in enumerate(piles):
        settled = laid(pile)
        spec = view(settled, 3 * number)
        assert spec.things == (*settled.falling, *settled.lying)
        for thing in settled.falling:
            assert math.dist(spec.camera.position, thing.position) > 0.6
        if wanted := meshes_of(settled):
            pixels = [project(spec.camera, mesh.position) for mesh in wanted]
            assert any(pixel is not None and all(0 <= value <= SIZE_PX for value in pixel) for pixel in pixels)


def test_an_object_is_as_large_in_the_picture_as_drawn(piles: Sequence[Pile]) -> None:
    for number, pile in enumerate(piles[:50]):
        camera = view(laid(pile), 3 * number).camera
        px = camera.focal_mm / 36 * SIZE_PX / math.dist(camera.position, camera.target)
        assert 0.7 * pile.size_px < px < 1.4 * pile.size_px or px == pytest.approx(SMALLEST * SIZE_PX)
