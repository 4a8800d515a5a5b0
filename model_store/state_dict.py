"""Safe reading of weights: files of `torch.save` and safetensors, and the state dict inside a checkpoint.

torch unpickles only tensors (`weights_only=True`). Other objects in a file, such as `argparse.Namespace` beside the
weights, become inert stand-ins: nothing of a file is imported or run.
"""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model_store.architectures import StateDict
from model_store.errors import BrokenStateDict

_WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "ema",
    "model_ema",
    "ema_state_dict",
)
"""Keys under which checkpoints hold a state dict, in order of preference."""
_DEEPEST = 3
_DETECTOR = "roi_heads.box_predictor.cls_score.weight"
"""A name that every Faster R-CNN has; what stands before it was added by a wrapper."""
_ADDED = ("module.", "model.", "net.", "network.")
_MOST_FOREIGN = 200


class _Foreign(dict[Any, Any]):
    """Stand-in for an object that is no tensor. It keeps nothing and does nothing."""

    of = "object"

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        pass

    __hash__ = object.__hash__  # type: ignore[assignment]  # a pickle may use it as a key


def read_state_dict(path: Path) -> StateDict:
    """Read the state dict in a file onto the CPU.

    The file was written by `torch.save` or by safetensors. It holds a state dict, or a checkpoint with a state dict
    inside (see `unwrap`).

    Raises:
        BrokenStateDict: the file holds something else; the message begins with the path and says what it holds.
        OSError: the file cannot be read.
    """
    try:
        return unwrap(_read_safetensors(path) if _is_safetensors(path) else _read_pickle(path))
    except BrokenStateDict as error:
        raise BrokenStateDict(f"{path}: {error}") from error


def _read_pickle(path: Path) -> object:
    if _is_torchscript(path):
        raise BrokenStateDict(
            "is a TorchScript archive, not a state dict; in the program that made it, save "
            "torch.save(model.state_dict(), 'weights.pt')"
        )
    stand_ins: dict[str, type[_Foreign]] = {}
    while True:
        try:
            with torch.serialization.safe_globals([(kind, name) for name, kind in stand_ins.items()]):
                return torch.load(path, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception as error:  # torch, pickle and zipfile raise many kinds of error for other files
            found = re.search(r"Unsupported global: GLOBAL (\S+) was not", str(error))
            name = found[1] if found and "." in found[1] else f"builtins.{found[1]}" if found else None
            if name is None or name in stand_ins or len(stand_ins) == _MOST_FOREIGN:
                raise BrokenStateDict(_what_was_found(path, name or ", ".join(stand_ins))) from error
            stand_ins[name] = type("_Foreign", (_Foreign,), {"of": name})


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _what_was_found(path: Path, foreign: str) -> str:
    """Describe an unreadable file: by the object in it that is no tensor, or by its size and first bytes."""
    if foreign:
        return f"holds {foreign} beside tensors; save it with torch.save(model.state_dict(), 'weights.pt')"
    with path.open("rb") as file:
        start = file.read(8)
    size = path.stat().st_size
    return f"not a complete file of torch.save; it has {size} bytes and begins with {start.hex(' ') or 'nothing'}"


def _is_safetensors(path: Path) -> bool:
    """Return whether a file begins as safetensors do: the header's length in 8 bytes, then the header's JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size  # noqa: PLR2004


def _read_safetensors(path: Path) -> StateDict:
    from safetensors import SafetensorError  # noqa: PLC0415 - few files need it
    from safetensors.torch import load_file  # noqa: PLC0415

    try:
        tensors: StateDict = load_file(path)
    except SafetensorError as error:
        raise BrokenStateDict(f"not a complete safetensors file: {error}") from error
    return tensors


def unwrap(loaded: object) -> StateDict:
    """Return the state dict inside the result of `torch.load`.

    Checkpoints hold it under a key such as `model`, `state_dict` or `ema`. Wrappers add prefixes to the names:
    `module.` (DataParallel, AveragedModel), `_orig_mod.` (torch.compile), `model.` (Lightning). Of a detector, all
    that stands before its own names is removed, and tensors of other modules are left out.

    Returns:
        Names -> finite tensors, the floating-point ones as float32.

    Raises:
        BrokenStateDict: there is no state dict; the message describes the content.
    """
    found = _without_wrapper(loaded)
    tensors = {
        name: value.float() if value.is_floating_point() else value for name, value in _without_prefix(found).items()
    }
    broken = [name for name, value in tensors.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if broken:
        raise BrokenStateDict(f"has values that are not finite in {', '.join(broken[:3])}")
    return tensors


def _without_wrapper(loaded: object) -> StateDict:
    for _ in range(_DEEPEST):
        if isinstance(loaded, _Foreign):
            raise BrokenStateDict(
                f"is a pickled {loaded.of.rpartition('.')[2]}, not a state dict; where it was made, run "
                "model = torch.load(FILE, weights_only=False) and torch.save(model.state_dict(), 'weights.pt')"
            )
        if not isinstance(loaded, Mapping):
            raise BrokenStateDict(f"holds a {type(loaded).__name__}, not a state dict (names -> tensors)")
        inner = next((loaded[key] for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)), None)
        if inner is None:
            break
        loaded = inner
    if not loaded:
        raise BrokenStateDict("holds an empty dict")
    assert isinstance(loaded, Mapping)
    foreign = [str(name) for name, value in loaded.items() if not _is_dense(value)]
    if foreign:
        raise BrokenStateDict(
            f"is not a state dict: {', '.join(foreign[:3])} {'are' if len(foreign) > 1 else 'is'} not a tensor; a "
            f"checkpoint may hold its state dict under {', '.join(_WRAPPERS)}"
        )
    return {str(name): value for name, value in loaded.items()}


def _without_prefix(tensors: StateDict) -> StateDict:
    named = {name.replace("_orig_mod.", ""): value for name, value in tensors.items()}
    prefixes = sorted((name.removesuffix(_DETECTOR) for name in named if name.endswith(_DETECTOR)), key=len)
    if prefixes:
        first = prefixes[0]
        return {name.removeprefix(first): value for name, value in named.items() if name.startswith(first)}
    while (prefix := _shared_prefix(named)) is not None:
        named = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
    return named


def _shared_prefix(tensors: StateDict) -> str | None:
    """Return a prefix that a wrapper added to the names of all tensors but a counter."""
    for prefix in _ADDED:
        with_it = sum(name.startswith(prefix) for name in tensors)
        if with_it and with_it + ("n_averaged" in tensors) == len(tensors):
            return prefix
    return None


def _is_dense(value: object) -> bool:
    """Return whether a value is a tensor with data: not sparse, and not on torch's `meta` device."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
