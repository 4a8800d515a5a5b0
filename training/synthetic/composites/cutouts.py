"""Cut-outs: pictures of one object alone, with a transparent background, to be pasted into composites.

A folder of cut-outs holds `NNNNNN.png`, straight RGBA in sRGB, cropped to the object. Each file carries its `Cutout`
facts as JSON in a PNG text chunk, so that a picture and its facts cannot drift apart.
"""

import json
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rendersight import atomic
from rendersight.annotations import Fault
from training.data.dataset import BrokenDataset
from training.synthetic.composites.assemblies import assembly, package
from training.synthetic.layout import WORLDS, draw_distractor
from training.synthetic.piles import REPAINTED, MeshObject
from training.synthetic.renderer import Blender, RenderFailed, Workers, run_on_workers
from training.synthetic.scene import Distractor, Lamp, Rgb, Surface
from training.synthetic.surfaces import any_colour, log_uniform, paint

SIZE_PX = 256
"""Side of the picture that the object's bounding ball fills, px."""
SAMPLES = 8
AT_REST = 0.65
"""Share of the cut-outs that show the object in a resting pose."""
_FACTS = "rendersight"
_FACT_NAMES = ("label", "source", "diameter", "diameter_px", "is_plain")


@dataclass(frozen=True)
class CutoutSpec:
    """One cut-out before it is rendered. The object's bounding ball has diameter 1 and sits at the origin.

    Attributes:
        source: the mesh file.
        label: class of the object.
        seed: seed of the cut-out and of the path tracer.
        turn: rotation of the object as a unit quaternion w, x, y, z.
        pose: number in 0..1 that chooses a resting pose of the mesh, which `turn` then rotates; None takes the mesh as
            it is.
        distance: of the camera from the object, in diameters.
        elevation_deg: of the camera above the horizon.
        world: name of one of Blender's HDRIs, its rotation in degrees, and its mean luminance.
        lamp: an area light, or None.
        bounce_rgb: colour of the unseen floor below the object; None leaves the floor out.
        parts: parts of a thing to show instead of a mesh, each with its height above the ground; empty shows the mesh.
        is_misassembled: show the mesh with its parts put together wrongly, if it has enough; else `parts`.
        gloss: roughness of the object's materials; None keeps their own.
        surface: material of a mesh that has no colours of its own.
        is_repainted: a mesh with colours of its own gets the surface too.
        size_px: side of the picture, px.
        samples: paths per pixel.
    """

    source: str
    label: str
    seed: int
    turn: tuple[float, float, float, float]
    distance: float
    elevation_deg: float
    world: tuple[str, float, float]
    lamp: Lamp | None
    bounce_rgb: Rgb | None
    gloss: float | None
    surface: Surface
    is_repainted: bool = False
    pose: float | None = None
    parts: tuple[tuple[Distractor, float], ...] = ()
    is_misassembled: bool = False
    size_px: int = SIZE_PX
    samples: int = SAMPLES


Draw = Callable[[int], CutoutSpec]
"""Function that draws the cut-out of a seed."""


def draw(objects: Sequence[MeshObject], seed: int) -> CutoutSpec:
    """Draw a cut-out; consecutive seeds show the objects in turn.

    Most objects rest on something, as things do that people photograph; the others are turned at random.
    """
    rng = random.Random(f"cutout {seed}")  # noqa: S311
    chosen = objects[seed % len(objects)]
    is_at_rest = rng.random() < AT_REST
    return CutoutSpec(
        source=chosen.source,
        label=chosen.label,
        seed=seed,
        turn=_yaw(rng) if is_at_rest else _any_turn(rng),
        pose=rng.random() if is_at_rest else None,
        distance=log_uniform(rng, 1.3, 8.0),
        elevation_deg=rng.uniform(-5, 85),
        world=(rng.choice(WORLDS), rng.uniform(0, 360), log_uniform(rng, 0.35, 1.3)),
        lamp=_lamp(rng) if rng.random() < 0.4 else None,
        bounce_rgb=any_colour(rng) if rng.random() < 0.7 else None,
        gloss=rng.uniform(0.15, 0.9) if rng.random() < 0.6 else None,
        surface=paint(rng),
        is_repainted=chosen.any_colour and rng.random() < REPAINTED,
    )


def clutter(objects: Sequence[MeshObject], seed: int) -> CutoutSpec:
    """Draw a cut-out of something that is never labelled.

    In half of the cut-outs it is an object with its own parts put together wrongly, or a printed package if the mesh is
    of one piece. In the others it is an assembly of many parts, a package, or a box, can, ball, ring or card of any
    surface. Detectors take things for the object that are made as it is.
    """
    rng = random.Random(f"clutter {seed}")  # noqa: S311
    turn = _any_turn(rng)
    parts: tuple[tuple[Distractor, float], ...]
    if seed % 4 == 0:
        parts = ((replace(draw_distractor(rng, (0.0, 0.0)), yaw_deg=0.0), 0.0),)
    else:
        parts = package(rng) if seed % 2 or rng.random() < 0.4 else assembly(rng)
        if rng.random() < 0.6:  # seen from above, where most parts are
            turn = _yaw(rng)
    thing = replace(draw(objects, seed // 2), seed=seed, label="", parts=parts)
    if seed % 2:
        return replace(thing, is_misassembled=True)
    return replace(thing, source="", turn=turn, pose=None, gloss=None)


def _yaw(rng: random.Random) -> tuple[float, float, float, float]:
    """Return a rotation about the vertical."""
    half = rng.uniform(0, math.pi)
    return math.cos(half), 0.0, 0.0, math.sin(half)


def _any_turn(rng: random.Random) -> tuple[float, float, float, float]:
    """Return a rotation drawn uniformly from all rotations."""
    w, x, y, z = (rng.gauss(0, 1) for _ in range(4))
    length = math.sqrt(w * w + x * x + y * y + z * z)
    return w / length, x / length, y / length, z / length


def _lamp(rng: random.Random) -> Lamp:
    tilt, azimuth, distance = math.radians(rng.uniform(5, 80)), rng.uniform(0, 2 * math.pi), rng.uniform(2, 5)
    warmth = rng.uniform(-0.25, 0.35)
    return Lamp(
        position=(
            distance * math.sin(tilt) * math.cos(azimuth),
            distance * math.sin(tilt) * math.sin(azimuth),
            distance * math.cos(tilt),
        ),
        size=distance * log_uniform(rng, 0.05, 0.8),
        energy=log_uniform(rng, 0.2, 2.0),
        rgb=(1.0, 1.0 - max(warmth, 0) * 0.5, 1.0 - warmth),
    )


@dataclass(frozen=True, eq=False)
class Cutout:
    """One rendered cut-out.

    Attributes:
        rgba: uint8 (H, W, 4), straight alpha, sRGB, cropped to the object.
        label: class of the object.
        source: file name of the mesh.
        diameter: diameter of the mesh's bounding ball, in the mesh's own units.
        diameter_px: the same length in this picture, px.
        is_plain: the mesh has plain colours, no texture. Real objects then have other shades, print and wear.
    """

    rgba: NDArray[np.uint8]
    label: str
    source: str
    diameter: float
    diameter_px: float
    is_plain: bool = False

    def facts(self) -> str:
        """Return everything but the pixels as JSON."""
        return json.dumps({key: getattr(self, key) for key in _FACT_NAMES})


def read_cutouts(folder: Path) -> list[Cutout]:
    """Read all cut-outs of a folder, in the order of their names; none if the folder does not exist.

    Raises:
        BrokenDataset: files are no cut-outs of `render_cutouts`. The message lists all of them.
    """
    found, faults = [], []
    for path in sorted(folder.glob("[0-9]*.png")):
        try:
            with Image.open(path) as picture:
                rgba = np.asarray(picture.convert("RGBA"))
                found.append(Cutout(rgba, **json.loads(picture.info[_FACTS])))
        except (OSError, KeyError, TypeError, ValueError) as error:
            faults.append(Fault(path.name, f"not a cut-out of python -m training cutouts: {error!r}"))
    if faults:
        raise BrokenDataset(faults)
    return found


def render_cutouts(
    draw: Draw,
    seeds: Sequence[int],
    out: Path,
    *,
    workers: Workers,
    progress: Callable[..., Iterable[Any]],
    stop_asked: Callable[[], bool],
) -> None:
    """Render every seed that is not in the folder yet.

    Args:
        draw: draws a cut-out from its seed.
        seeds: seeds of the cut-outs.
        out: the folder; created if missing.
        workers: processes to render with.
        progress: wraps an iterable with a known `total`, as tqdm does.
        stop_asked: returns whether to stop after the pictures in progress.

    Raises:
        BrokenDataset: cut-outs could not be rendered; all others are.
    """
    out.mkdir(parents=True, exist_ok=True)
    missing = [seed for seed in seeds if not (out / f"{seed:06d}.png").exists()]

    def work(process: Blender, seed: int) -> Iterator[Fault | None]:
        if stop_asked():
            return
        try:
            _render(process, draw(seed), out / f"{seed:06d}.png")
            yield None
        except RenderFailed as error:
            yield Fault(f"{seed:06d}.png", str(error))

    faults = run_on_workers(workers, work, missing, total=len(missing), progress=progress)
    if faults:
        raise BrokenDataset(sorted(faults, key=lambda fault: fault.file))


def _render(process: Blender, spec: CutoutSpec, path: Path) -> None:
    arrays = process.ask({"cutout": asdict(spec)})
    rgba = develop(arrays["rgba"].astype(np.float32))
    rows, columns = np.flatnonzero(rgba[..., 3].any(axis=1)), np.flatnonzero(rgba[..., 3].any(axis=0))
    if not len(rows):
        raise RenderFailed(f"{spec.source} shows nothing")
    cropped = rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    seen = 2 * spec.distance * math.tan(math.asin(0.5 / spec.distance))  # diameters across the picture at the object
    cutout = Cutout(
        cropped,
        spec.label,
        Path(spec.source).name,
        float(arrays["diameter"]),
        spec.size_px / seen,
        is_plain=bool(arrays["is_plain"]),
    )
    info = PngInfo()
    info.add_text(_FACTS, cutout.facts())
    file = BytesIO()
    Image.fromarray(cropped).save(file, "PNG", pnginfo=info, compress_level=3)
    atomic.write_bytes(path, file.getvalue())


def develop(light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return linear, premultiplied RGBA as straight sRGB, with soft highlights."""
    alpha = np.clip(light[..., 3:], 0, 1)
    rgb = np.maximum(light[..., :3], 0) / np.maximum(alpha, 1e-4)
    knee = 0.7
    rgb = np.where(rgb > knee, knee + (1 - knee) * (1 - np.exp(-(rgb - knee) / (1 - knee))), rgb)
    coded = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * np.power(rgb, 1 / 2.4) - 0.055)
    coded = np.where(alpha > 0, coded, 0)
    return np.round(np.concatenate([np.clip(coded, 0, 1), alpha], axis=2) * 255).astype(np.uint8)
