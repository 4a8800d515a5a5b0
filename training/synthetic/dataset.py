"""A folder of rendered, labelled photos, one per seed, made by several Blender processes; rendering can resume."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rendersight import atomic
from rendersight.annotations import IGNORE, Fault
from rendersight.annotations.formats import labelme
from training.data.dataset import BrokenDataset
from training.synthetic import sensor
from training.synthetic.annotate import Instance, TooHidden, annotate
from training.synthetic.piles import MESH
from training.synthetic.recipes import Recipe
from training.synthetic.renderer import Blender, RenderFailed, Workers, run_on_workers
from training.synthetic.scene import SceneSpec

MOST_ATTEMPTS = 12
_SCENE = ".scene.json"


def render_dataset(
    recipe: Recipe,
    seeds: Sequence[int],
    out: Path,
    *,
    workers: Workers,
    progress: Callable[..., Iterable[Any]],
    stop_asked: Callable[[], bool],
    most_faults: int | None = None,
) -> int:
    """Render every seed that is not in the folder yet and return the number of images rendered.

    Args:
        recipe: draws the scenes and names their files.
        seeds: seeds of the images. Those of one settled scene are rendered one after the other in one process.
        out: the folder; created if missing.
        workers: processes to render with.
        progress: wraps an iterable with a known `total`, as tqdm does.
        stop_asked: returns whether to stop after the scenes in progress.
        most_faults: largest number of failed seeds before giving up; None tries all seeds.

    Raises:
        BrokenDataset: seeds could not be rendered; raised when all others are done or too many have failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    missing = [seed for seed in seeds if not all(_path(out, recipe, seed, end).exists() for end in (".json", ".jpg"))]
    rendered: list[int] = []
    failed: list[Fault] = []

    def work(process: Blender, group: Sequence[int]) -> Iterator[Fault | None]:
        for seed in group:
            if stop_asked() or (most_faults is not None and len(failed) > most_faults):
                return
            try:
                render_seed(process, recipe, seed, out)
                rendered.append(seed)
                yield None
            except (RenderFailed, TooHidden) as error:
                failed.append(Fault(recipe.name_of(seed), str(error)))
                yield failed[-1]

    groups = [list(group) for _, group in groupby(sorted(missing), key=lambda seed: seed // recipe.views)]
    faults = run_on_workers(workers, work, groups, total=len(missing), progress=progress)
    if faults:
        raise BrokenDataset(sorted(faults, key=lambda fault: fault.file))
    return len(rendered)


def is_render(image_path: Path | None) -> bool:
    """Return whether an image was written by `render_dataset`, which keeps each scene beside its image."""
    return image_path is not None and image_path.with_suffix(_SCENE).is_file()


def render_seed(process: Blender, recipe: Recipe, seed: int, out: Path) -> None:
    """Render one image with its annotation and its spec.

    A mesh that is too hidden or too small is an ignored box. A scene with such a die is drawn anew: the label of a die
    is a face, which must be seen.

    Raises:
        RenderFailed: Blender failed twice on one scene.
        TooHidden: no attempt could be labelled.
    """
    for attempt in range(MOST_ATTEMPTS):
        try:
            spec = recipe.draw(seed, attempt, process)
            rendering = process.render(spec)
        except RenderFailed:  # in a new process; a second failure is the scene's fault
            spec = recipe.draw(seed, attempt, process)
            rendering = process.render(spec)
        labels = [thing.label for thing in spec.labelled]
        try:
            instances = annotate(rendering.index, rendering.outlines, labels, may_hide=spec.recipe == MESH)
        except TooHidden:
            if attempt == MOST_ATTEMPTS - 1:
                raise
            continue
        picture = sensor.develop(rendering.light, spec.sensor, is_metered=spec.recipe == MESH)
        _write(
            out,
            recipe.name_of(seed),
            spec,
            picture,
            instances,
            size_wh=(rendering.index.shape[1], rendering.index.shape[0]),
        )
        return


def _write(
    out: Path, stem: str, spec: SceneSpec, picture: bytes, instances: Sequence[Instance], *, size_wh: tuple[int, int]
) -> None:
    """Write spec, annotation and then the picture: a picture without an annotation would not count as labelled."""
    rectangles = [
        labelme.Rectangle(
            item.label,
            item.box_xyxy,
            f"visible {item.visible}, in frame {item.in_frame}, area {item.area_px} px",
            frozenset({IGNORE} if item.is_ignored else ()),
        )
        for item in instances
    ]
    annotation = labelme.to_json(rectangles, image_name=f"{stem}.jpg", size_wh=size_wh, indent=1)
    atomic.write_bytes(out / f"{stem}{_SCENE}", json.dumps(spec.as_json()).encode())
    atomic.write_bytes(out / f"{stem}.json", annotation.encode())
    atomic.write_bytes(out / f"{stem}.jpg", picture)


def _path(out: Path, recipe: Recipe, seed: int, suffix: str) -> Path:
    return out / f"{recipe.name_of(seed)}{suffix}"
