"""A state dict's file -> tensors, without ever unpickling anything else."""

import re
from pathlib import Path

import torch

from model_store.architectures import StateDict, unwrap
from model_store.errors import BrokenStateDict


def read_state_dict(path: Path) -> StateDict:
    """Read what `torch.save(model.state_dict(), path)` wrote, onto the CPU.

    Raises:
        BrokenStateDict: not such a file, or one that holds more than tensors; the message begins with the path and
            says what was found.
        OSError: the file cannot be read.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch, pickle and zipfile raise many kinds for a file that is none of theirs
        raise BrokenStateDict(f"{path}: {_what_was_found(path, str(error))}") from error
    try:
        return unwrap(loaded)
    except BrokenStateDict as error:
        raise BrokenStateDict(f"{path}: {error}") from error


def _what_was_found(path: Path, message: str) -> str:
    """Say why torch refused a file, without its advice to load the file all the same."""
    if found := re.search(r"GLOBAL (\S+)", message):
        return f"holds a {found[1]} beside tensors; save it with torch.save(model.state_dict(), ...)"
    with path.open("rb") as file:
        start = file.read(8)
    size = path.stat().st_size
    return f"no whole file of torch.save; it has {size} bytes and begins with {start.hex(' ') or 'nothing'}"
