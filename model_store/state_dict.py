"""Safe reading of a state dict's file: only tensors are unpickled."""

import re
from pathlib import Path

import torch

from model_store.architectures import StateDict, unwrap
from model_store.errors import BrokenStateDict


def read_state_dict(path: Path) -> StateDict:
    """Read a file written by `torch.save(model.state_dict(), path)`, onto the CPU.

    Raises:
        BrokenStateDict: the file is something else or holds more than tensors; the message begins with the path and
            describes the content.
        OSError: the file cannot be read.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch, pickle and zipfile raise many kinds of error for other files
        raise BrokenStateDict(f"{path}: {_what_was_found(path, str(error))}") from error
    try:
        return unwrap(loaded)
    except BrokenStateDict as error:
        raise BrokenStateDict(f"{path}: {error}") from error


def _what_was_found(path: Path, message: str) -> str:
    """Return torch's reason for refusing a file, without its advice to load the file unsafely."""
    if found := re.search(r"GLOBAL (\S+)", message):
        return f"holds a {found[1]} beside tensors; save it with torch.save(model.state_dict(), ...)"
    with path.open("rb") as file:
        start = file.read(8)
    size = path.stat().st_size
    return f"not a complete file of torch.save; it has {size} bytes and begins with {start.hex(' ') or 'nothing'}"
