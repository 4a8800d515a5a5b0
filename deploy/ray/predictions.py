"""The Parquet files of predictions, with one row for each image.

| column | type | |
|---|---|---|
| path | string | absolute path or URL of the image |
| width, height | int32 | of the upright image, px |
| boxes | list of lists of 4 float32 | x0, y0, x1, y1, px of the upright image, best score first |
| labels | list of strings | class names |
| label_ids | list of int32 | 1..K |
| scores | list of float32 | |
| model, version | string | of the release |
| error | string | why the image cannot be used; then width to scores are null. Null for a usable image |

If no objects were found, the lists are empty.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from deploy.ray.errors import JobError
from deploy.ray.storage import Storage, is_draft

SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("boxes", pa.list_(pa.list_(pa.float32()))),
        ("labels", pa.list_(pa.string())),
        ("label_ids", pa.list_(pa.int32())),
        ("scores", pa.list_(pa.float32())),
        pa.field("model", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        ("error", pa.string()),
    ]
)

_NAME = "part-{}.parquet"
_READERS = 16


@dataclass(frozen=True)
class Finished:
    """The results of earlier runs.

    Attributes:
        paths: paths of the images that have a row.
        errors: number of these images that could not be used.
    """

    paths: Set[str]
    errors: int


def write(out: Storage, photos: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the file of one part.

    The name is a hash of the part's photos. If an actor dies after writing, the part is computed again, and the second
    file replaces the first.

    Raises:
        JobError: the file cannot be written.
    """
    file = BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows), SCHEMA), file)
    digest = hashlib.sha256("\n".join(photos).encode()).hexdigest()
    out.write(_NAME.format(digest[:32]), file.getvalue())


def finished(out: Storage, tell: Callable[[str], None]) -> Finished:
    """Return the results of earlier runs. Delete incomplete files, which an interrupted run left.

    Args:
        out: the folder of predictions.
        tell: called with a line about each file that is no complete Parquet file.

    Raises:
        JobError: the folder or a file cannot be read.
    """
    before, after = _NAME.split("{}")
    names = out.names()
    for name in filter(is_draft, names):
        out.remove(name)
    parts = [name for name in names if name.startswith(before) and name.endswith(after)]
    paths: set[str] = set()
    errors = 0
    with ThreadPoolExecutor(_READERS) as threads:
        for name, found in zip(parts, threads.map(lambda name: _read(out, name), parts), strict=True):
            if found is None:
                tell(f"{out.url}/{name} is incomplete: its images are predicted again")
                out.remove(name)
                continue
            paths.update(found["path"].to_pylist())
            errors += len(found) - found["error"].null_count
    return Finished(paths, errors)


def _read(out: Storage, name: str) -> pa.Table | None:
    """Return the columns `path` and `error` of a file, or None if it is no complete Parquet file."""
    try:
        with out.open(name) as file:
            return parquet.ParquetFile(file).read(["path", "error"]).select(["path", "error"])
    except pa.ArrowInvalid:
        return None
    except Exception as error:  # any type, as in `storage`; the file may be readable later, so it is kept
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise JobError(f"{out.url}/{name}: {reason}; delete the file to predict its images again") from error
