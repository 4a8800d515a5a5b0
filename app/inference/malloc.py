"""What glibc does with freed memory: it keeps it, for each thread its own, unless told otherwise."""

import ctypes
import sys

from model_store.cpu import usable_cores

_M_ARENA_MAX = -8  # mallopt(3)


def keep_few_heaps() -> None:
    """Have as many heaps as there are cores, before threads make theirs: 8 for each core, each with its own holes."""
    if (libc := _glibc()) is not None:
        libc.mallopt(_M_ARENA_MAX, max(2, usable_cores()))


def give_back() -> None:
    """Return to the system what is free, after much was; it takes some milliseconds."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """Return the C library where it is glibc."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
