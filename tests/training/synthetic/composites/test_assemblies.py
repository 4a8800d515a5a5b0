"""Assemblies: many parts of few surfaces, on one body."""

import random

from training.synthetic.composites.assemblies import assembly, package


def test_assembly_depends_on_the_seed() -> None:
    assert assembly(random.Random(3)) == assembly(random.Random(3))
    assert assembly(random.Random(3)) != assembly(random.Random(4))


def test_parts_stand_on_or_in_the_body_and_share_its_palette() -> None:
    for seed in range(30):
        (body, ground), *parts = assembly(random.Random(seed))
        assert ground == 0
        assert body.size[0] == 1
        assert 3 <= len(parts) < 200
        assert all(0 < height <= body.size[2] for _, height in parts)
        assert all(max(map(abs, part.position)) <= 0.5 for part, _ in parts)
        assert len({part.surface for part, _ in parts}) <= 6


def test_packages_have_labels_on_their_outside() -> None:
    drawn = [package(random.Random(seed)) for seed in range(60)]
    assert {parts[0][0].kind for parts in drawn} == {"box", "cylinder"}
    for (body, _), *labels in drawn:
        assert max(body.size) == 1
        assert labels
        assert all(bottom > body.size[2] for label, bottom in labels if label.text)
        for label, bottom in (item for item in labels if not item[0].text):
            assert any(side > own for side, own in zip(label.size, body.size, strict=True))
            assert -0.02 < bottom < bottom + label.size[2] < 1.03 * body.size[2] + 0.01
