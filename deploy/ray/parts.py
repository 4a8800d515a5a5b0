"""The files of predictions: Parquet, a row for each image.

| column | type | |
|---|---|---|
| path | string | absolute, or the image's URL |
| width, height | int32 | of the upright image, px |
| boxes | list of lists of 4 float32 | x0, y0, x1, y1, px of the upright image, best score first |
| labels | list of strings | class names |
| label_ids | list of int32 | 1..K |
| scores | list of float32 | |
| model, version | string | of the release |
| error | string | why the image cannot be used: then all from width to scores is null. Else null |

No object is an empty list.
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
from deploy.ray.places import Place, is_draft

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
    """What earlier runs have written.

    Attributes:
        paths: of the images that have a row.
        errors: how many of them could not be used.
    """

    paths: Set[str]
    errors: int


def write(out: Place, photos: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one file.

    It is named after the photos that it was to have, so that a part that is computed twice, since an actor died after
    it had written and before it could say so, is there once.

    Raises:
        JobError: it cannot be written.
    """
    file = BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows), SCHEMA), file)
    digest = hashlib.sha256("\n".join(photos).encode()).hexdigest()
    out.write(_NAME.format(digest[:32]), file.getvalue())


def finished(out: Place, tell: Callable[[str], None]) -> Finished:
    """Return what is written already; what an interrupted run left half written is deleted.

    Args:
        out: the folder.
        tell: is given a line on each file that was no Parquet file.

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
                tell(f"{out.url}/{name} is not whole: its images are predicted again")
                out.remove(name)
                continue
            paths.update(found["path"].to_pylist())
            errors += len(found) - found["error"].null_count
    return Finished(paths, errors)


def _read(out: Place, name: str) -> pa.Table | None:
    """Return two columns of a file, None where it is no whole Parquet file."""
    try:
        with out.open(name) as file:
            return parquet.ParquetFile(file).read(["path", "error"]).select(["path", "error"])
    except pa.ArrowInvalid:
        return None
    except Exception as error:  # as in `places`; what can be read of it may be needed, so it stays
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise JobError(f"{out.url}/{name}: {reason}; without that file its images are predicted again") from error
