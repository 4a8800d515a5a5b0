"""Drafts: files and folders being written, locked while their writer lives, so that abandoned ones can be removed."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl


@contextmanager
def draft_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Create a draft folder `<prefix>...`, and remove those of the same prefix whose writers were killed.

    Raises:
        OSError: the folder cannot be created.
    """
    remove_abandoned(parent.glob(f"{prefix}*"))
    with ExitStack() as stack:
        draft = None
        while draft is None or not draft.exists():  # another process may remove a draft before it is locked
            draft = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            stack.callback(shutil.rmtree, draft, ignore_errors=True)
            stack.enter_context(locked(draft, wait=True))
        yield draft


def remove_abandoned(drafts: Iterable[Path]) -> None:
    """Remove the files and folders that no living process has locked; those that cannot be removed stay."""
    for draft in drafts:
        with locked(draft) as is_abandoned:
            if not is_abandoned:
                continue
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                with suppress(OSError):
                    draft.unlink()


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Try to lock a file or folder, and yield whether it is locked; the lock ends with the block or the process.

    The lock fails if another process holds it; `wait` waits for that process instead. It also fails on systems without
    such locks, Windows and some network file systems; abandoned drafts stay there.
    """
    handle = _lock(path, wait=wait)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def _lock(path: Path, *, wait: bool) -> int | None:
    if sys.platform == "win32":
        return None
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(handle)
        return None
    return handle
