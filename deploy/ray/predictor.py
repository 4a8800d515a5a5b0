"""The actor of a prediction job: turns photos into rows of a Parquet file and keeps the network busy."""

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Semaphore
from typing import Any

import pyarrow as pa

from app.inference import malloc
from deploy.ray import predictions
from deploy.ray.errors import JobError
from deploy.ray.job_settings import JobSettings
from deploy.ray.storage import Storage
from model_store.detector import Detector, open_detector
from model_store.engines import DeviceLost
from model_store.errors import ModelError
from rendersight import images

_ANSWER = pa.schema(
    {
        "images": pa.int64(),
        "errors": pa.int64(),
        "objects": pa.int64(),
        "unread": pa.list_(pa.string()),
        "failed": pa.string(),
    }
)

Opener = Callable[[], Detector]


class Predictor:
    """A detector in its own process.

    Each thread takes one photo from reading to boxes. There are `ahead` threads more than the engine computes images
    at once, so some threads read and decode the next photos while others compute.
    """

    def __init__(self, job: JobSettings, photos: str, out: str, *, open_detector: Opener, ahead: int) -> None:
        """Load the model.

        Args:
            job: the settings of the job.
            photos: path or URL of the folder of photos.
            out: path or URL of the folder of predictions.
            open_detector: loads the model.
            ahead: number of photos that are read and decoded in advance.
        """
        malloc.keep_few_heaps()
        images.configure_pillow(max_pixels=job.max_pixels)
        self._job = job
        self._failure: str | None = None
        try:
            self._photos, self._out = Storage(photos), Storage(out)
            if not job.check(self._out):
                raise JobError(f"{out} is a different folder on {socket.gethostname()}; all machines must share it")
            self._detector = open_detector()
        except (JobError, ModelError) as error:  # Ray would retry a constructor that raises
            self._failure = str(error)
        else:
            parallel = self._detector.engine.parallel
            self._threads = ThreadPoolExecutor(parallel + ahead)
            self._computing = Semaphore(parallel)

    def __call__(self, part: pa.Table) -> pa.Table:
        """Predict and write one part. Two calls may run at once.

        Args:
            part: a table with the column `path`, for `Storage.read`.

        Returns:
            One row: `images`, the number of rows written; `errors`, the number of unusable images among them;
            `objects`, the number of objects found; `unread`, a line for each image left to the next run; `failed`, why
            nothing was written, or null.
        """
        if self._failure is not None:
            return _answer(failed=self._failure)
        paths = part["path"].to_pylist()
        rows: list[dict[str, Any]] = []
        unread: list[str] = []
        try:
            for done in self._threads.map(self._try, paths):
                if isinstance(done, str):
                    unread.append(done)
                else:
                    rows.append(done)
            if rows:
                predictions.write(self._out, paths, rows)
        except (JobError, DeviceLost) as error:
            return _answer(failed=str(error))
        return _answer(
            images=len(rows),
            errors=sum(row["error"] is not None for row in rows),
            objects=sum(len(row.get("scores", ())) for row in rows),
            unread=unread,
        )

    def _try(self, path: str) -> dict[str, Any] | str:
        """Return an image's row, or a line with the reason why it could not be read."""
        name = self._photos.name_of(path)
        always = {"path": name, "model": self._job.model, "version": self._job.version}
        try:
            data = self._photos.read(path)
        except Exception as error:  # filesystems raise whatever their libraries do
            return f"{name}: {str(error) or type(error).__name__}"
        try:
            return {**always, "error": None, **self._find(data)}
        except (images.ImageError, FloatingPointError) as error:
            return {**always, "error": str(error)}
        except MemoryError:
            return f"{name}: not enough memory for it"

    def _find(self, data: bytes) -> dict[str, Any]:
        info = self._detector.info
        photo = images.decode_photo(data, max_pixels=self._job.max_pixels, need=info.input.resized_hw, formats=None)
        with self._computing:
            found = self._detector.detect_photo(photo)
        found = found.above(self._job.score_threshold).by_score()
        return {
            "width": photo.width,
            "height": photo.height,
            "boxes": found.boxes_xyxy.tolist(),
            "labels": [info.class_names[label - 1] for label in found.labels.tolist()],
            "label_ids": found.labels.tolist(),
            "scores": found.scores.tolist(),
        }


def _answer(
    *, images: int = 0, errors: int = 0, objects: int = 0, unread: Sequence[str] = (), failed: str | None = None
) -> pa.Table:
    row = {"images": images, "errors": errors, "objects": objects, "unread": list(unread), "failed": failed}
    return pa.Table.from_pylist([row], _ANSWER)


def opener(release: str, store_root: Path, *, device: str, cores: int) -> Opener:
    """Return a function that loads a release in an actor with `cores` cores."""
    return partial(open_detector, release, store_root=store_root, device=device, cores=cores)
