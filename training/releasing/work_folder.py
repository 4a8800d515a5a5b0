"""Work folder that keeps the results of long stages, so that a repeated command reuses them.

Each result is stored under a hash of its inputs.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_store import cpu
from model_store.engines import Engine
from model_store.network import LoadedNetwork
from model_store.store import sha256_of
from rendersight import atomic
from rendersight.annotations import AnnotatedImage
from rendersight.detections import Detections
from training.console import Bar
from training.data.dataset import LabelledImages
from training.learning.trainer import Say
from training.measuring.evaluation import detect_all
from training.measuring.measured import Domain, measure
from training.records.run_folder import library_versions

_DETECTIONS = "detections.npz"


@dataclass(frozen=True)
class WorkFolder:
    """A folder of reusable results. It may be deleted between two commands.

    Attributes:
        root: the folder; created with its first result.
        say: writes a line for the user.
    """

    root: Path
    say: Say

    def keep(self, kind: str, what: str, depends_on: Mapping[str, Any], write: Callable[[Path], None]) -> Path:
        """Return the folder of a result: a kept one, or a new one that appears only once it is complete.

        Args:
            kind: start of the folder's name; a hash of `depends_on` follows.
            what: description of the result, for messages.
            depends_on: inputs of the result, as plain JSON data. Equal inputs must give equal results.
            write: function that fills a folder with the result.
        """
        digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()
        folder = self.root / f"{kind}-{digest[:16]}"
        if folder.is_dir():
            self.say(f"{what}: reused from {folder}")
            return folder

        def fill(draft: Path) -> None:
            write(draft)
            atomic.sync(draft)

        atomic.write_folder(folder, fill)  # False if another process was faster; equal inputs give an equal result
        return folder

    def detect(
        self, engine: Engine, network: Mapping[str, Any], name: str, images: Sequence[AnnotatedImage], *, bar: Bar
    ) -> list[Detections]:
        """Return an engine's detections in every image, reusing kept ones. They do not depend on the labels.

        Args:
            engine: the engine to run.
            network: inputs of the engine's arithmetic as plain JSON data, such as the result of `identity_of`.
            name: name of the images, for messages.
            images: N images.
            bar: a progress bar with the interface of tqdm.

        Returns:
            N detections, in the order of the images.
        """
        files = [image.image_path or image.annotation_path for image in images]
        depends_on = {
            "network": network,
            "engine": [engine.name, engine.device, sha256_of(Path(inspect.getfile(type(engine))))],
            "images": [sha256_of(path) for path in files if path is not None],
            "libraries": library_versions(),
            "processor": cpu.model_name(),
        }

        def write(folder: Path) -> None:
            found = detect_all(engine, images, progress=lambda items: bar(items, desc=f"{engine.name} on {name}"))
            np.savez(
                folder / _DETECTIONS,
                ends=np.cumsum([len(item) for item in found]),
                boxes_xyxy=np.concatenate([item.boxes_xyxy for item in found]),
                labels=np.concatenate([item.labels for item in found]),
                scores=np.concatenate([item.scores for item in found]),
            )

        with np.load(self.keep("detections", f"{engine.name} on {name}", depends_on, write) / _DETECTIONS) as kept:
            parts = [np.split(kept[key], kept["ends"][:-1]) for key in ("boxes_xyxy", "labels", "scores")]
        return [Detections(*part) for part in zip(*parts, strict=True)]


def measure_kept(
    engine: Engine, loaded: LoadedNetwork, name: str, data: LabelledImages, *, work: WorkFolder, bar: Bar
) -> Domain:
    """Measure a loaded network's engine on a data set, reusing kept detections."""
    return measure(name, data, work.detect(engine, identity_of(loaded), name, data.images, bar=bar))


def identity_of(loaded: LoadedNetwork) -> dict[str, Any]:
    """Return the inputs of a loaded network's arithmetic, as plain JSON data: weights, architecture and options."""
    return {
        "weights": loaded.info.sha256,
        "architecture": loaded.info.architecture,
        "options": loaded.options.model_dump(mode="json"),
    }
