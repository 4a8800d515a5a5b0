"""Limits on the freed memory that glibc keeps. By default glibc keeps it in a heap per thread."""

import ctypes
import sys

from model_store.cpu import usable_cores

_M_ARENA_MAX = -8  # mallopt(3)


def keep_few_heaps() -> None:
    """Limit glibc to one heap per core, at least 2. Call it before threads start.

    The default is 8 heaps per core, and each one fragments.
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(_M_ARENA_MAX, max(2, usable_cores()))


def give_back() -> None:
    """Return free memory to the system. Call it after freeing a lot; it takes some milliseconds."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """Return the C library, or None if it is not glibc."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
