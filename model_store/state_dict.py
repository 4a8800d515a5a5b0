"""A state dict's file -> tensors, without ever unpickling anything else."""

import pickle
from pathlib import Path

import torch

from model_store.architectures import StateDict, unwrap
from model_store.errors import BrokenStateDict


def read_state_dict(path: Path) -> StateDict:
    """Read what `torch.save(model.state_dict(), path)` wrote, onto the CPU.

    Raises:
        BrokenStateDict: not such a file, or one that holds more than tensors; the message begins with the path.
        OSError: the file cannot be read.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise BrokenStateDict(
            f"{path}: not readable as tensors alone ({reason}); save it with torch.save(model.state_dict(), ...)"
        ) from error
    except OSError:
        raise
    except Exception as error:  # torch and zipfile raise many kinds for a file that is none of theirs
        raise BrokenStateDict(f"{path}: no file that torch.save wrote ({error})") from error
    try:
        return unwrap(loaded)
    except BrokenStateDict as error:
        raise BrokenStateDict(f"{path}: {error}") from error
