"""A cache of graphs converted at start, for the next start with the same weights on the same machine."""

import hashlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import openvino as ov
from pydantic import TypeAdapter, ValidationError

from model_store.cpu import model_name
from model_store.engines.openvino import GRAPHS
from model_store.model_info import NetworkFacts
from rendersight import atomic

# the code is part of the key, because graphs of an older version may not fit the engine
_CONVERTER = tuple(Path(__file__).with_name(f"{name}.py") for name in ("graph_nodes", "graph_pooling", "graphs"))
_FACTS_NAME = "facts.json"
_FACTS = TypeAdapter(NetworkFacts)

_log = logging.getLogger(__name__)


def converter_sha256() -> str:
    """Return the sha256 of the code that converts networks to graphs."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in _CONVERTER)).hexdigest()


class GraphCache:
    """A folder of converted graphs for one set of weights, one converter, options, OpenVINO version and processor.

    Attributes:
        folder: the folder, named by the weights' sha256 and a sha256 of the rest.
    """

    def __init__(self, root: Path, *, sha256: str, options: str = "") -> None:
        machine = hashlib.sha256(f"{converter_sha256()} {ov.__version__} {model_name()} {options}".encode()).hexdigest()
        self.folder = root / f"{sha256[:16]}-{machine[:16]}"

    def facts(self) -> NetworkFacts | None:
        """Return the properties of the cached network, or None if a graph or their record is missing."""
        if not all((self.folder / f"{graph}.xml").is_file() for graph in GRAPHS):
            return None
        try:
            return _FACTS.validate_json((self.folder / _FACTS_NAME).read_bytes())
        except (OSError, ValidationError):
            return None

    def keep(self, facts: NetworkFacts, write: Callable[[Path], None]) -> bool:
        """Fill the folder with `write`; all files appear at once. If the cache cannot be written, log a warning.

        Returns:
            Whether the graphs are cached now.
        """

        def fill(draft: Path) -> None:
            write(draft)
            (draft / _FACTS_NAME).write_bytes(_FACTS.dump_json(facts))

        if self.facts() is None:
            shutil.rmtree(self.folder, ignore_errors=True)  # an incomplete folder
        try:
            return atomic.write_folder(self.folder, fill) or self.facts() is not None
        except OSError as error:
            _log.warning("the cache %s cannot be written (%s): each start converts anew", self.folder.parent, error)
            return False
