"""Checks of a plan, for everything that would otherwise fail after hours of rendering and training."""

from pathlib import Path

import numpy as np

from model_store import architectures
from rendersight.annotations import AnnotatedImage, AnnotationError
from rendersight.annotations.dataset import read_annotations
from rendersight.photos import find_photos
from training.config import TrainConfig
from training.console import Bar
from training.data.dataset import LabelledImages, names_in, read_dataset
from training.data.split import split
from training.learning.weights import load_initial_weights
from training.make.plan import MakePlan
from training.records.run_folder import check_folder
from training.synthetic.mesh_check import try_meshes
from training.synthetic.recipes import Recipe
from training.synthetic.renderer import check_python


def check(plan: MakePlan, *, bar: Bar) -> None:
    """Check a plan without writing anything. Once training has begun, only the folders and the photos matter.

    Raises:
        AnnotationError: the photos or a mesh cannot be used, or too few images are rendered for a hold-out.
        ModelError: the initial weights are not available.
        RunError: a folder cannot be written.
        BlenderMissing: the interpreter has no bpy.
    """
    for folder in (plan.out, plan.store):
        check_folder(folder)
    if plan.photos is not None:
        _check_photos(plan.photos, plan.class_names, bar)
    if plan.has_begun_to_train:
        return
    _check_split(plan.count, plan.recipe, plan.config)
    check_python(plan.blender.python)
    try_meshes([item.source for item in plan.objects], plan.blender.python)
    _check_weights(plan)


def _check_photos(folder: Path, class_names: tuple[str, ...], bar: Bar) -> None:
    labels = names_in(read_annotations(folder, bar=bar))
    if not labels:  # they are shown with detections
        find_photos([folder], stems_differ=False)
        return
    if unknown := sorted(set(labels) - set(class_names)):
        raise AnnotationError(
            f"{folder} has labels that are no class: {', '.join(unknown)}; the classes are {', '.join(class_names)}"
        )
    read_dataset(folder, class_names=class_names)


def _check_split(count: int, recipe: Recipe, config: TrainConfig) -> None:
    """Check that the images to be rendered can be split, by splitting stand-ins for them."""
    boxes = np.zeros((0, 4), np.float32)
    planned = tuple(
        AnnotatedImage(f"{recipe.name_of(seed)}.jpg", None, None, (1, 1), boxes, ()) for seed in range(count)
    )
    try:
        split(LabelledImages(planned, ()), hold_out=config.hold_out, seed=config.seed, group_by=config.group_by)
    except AnnotationError as error:
        raise AnnotationError(
            f"--count {count} is too small: of all renders, {config.hold_out:g} are held out to measure on, and none "
            "would be left to train on; take more, or a preset with a smaller hold_out"
        ) from error


def _check_weights(plan: MakePlan) -> None:
    config = plan.config
    network = architectures.build(
        config.architecture, class_count=len(plan.class_names), options=config.network_options()
    )
    load_initial_weights(
        network,
        config.weights,
        architecture=config.architecture,
        class_names=plan.class_names,
        store_root=plan.store,
    )
