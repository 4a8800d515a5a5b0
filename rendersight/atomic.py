"""Atomic writing of files and folders: a reader sees all of the new content or none of it.

Content is written to a hidden draft beside its target, then renamed. A draft is locked while its writer lives, so that
the draft of a killed writer can be recognised and removed.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_DRAFT = ".rendersight-draft-"


def write_bytes(path: Path, content: bytes) -> None:
    """Write or replace a file; see `write_file`."""
    write_file(path, lambda draft: draft.write_bytes(content))


def write_file(path: Path, fill: Callable[[Path], object]) -> None:
    """Write or replace a file and force it to disk.

    Args:
        path: the file.
        fill: writes the content to the path that it is given.

    Raises:
        OSError: the file could not be written. An earlier file at `path` is unchanged.
    """
    draft = path.with_name(f"{_DRAFT}{path.name}.{os.getpid()}")
    try:
        draft.touch()
        with _locked(draft):
            fill(draft)
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_folder(folder: Path, fill: Callable[[Path], object]) -> bool:
    """Write a folder that does not exist or is empty. Drafts that killed writers left beside it are removed.

    Args:
        folder: the folder; its parents are created.
        fill: writes the content into the empty folder that it is given, which has the same name.

    Returns:
        Whether the folder was written; False if it exists by now, because another process was faster.

    Raises:
        OSError: the folder could not be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder.parent)
    with ExitStack() as stack:
        scratch = None
        while scratch is None or not scratch.exists():  # another process may remove it before it is locked
            scratch = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=folder.parent))
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            stack.enter_context(_locked(scratch, wait=True))
        draft = scratch / folder.name  # only the owner can access `scratch`; this folder gets the usual permissions
        draft.mkdir()
        fill(draft)
        try:
            draft.rename(folder)
        except OSError:
            if folder.exists():
                return False
            raise
        _sync_entry(folder.parent)
        return True


def remove_abandoned(folder: Path) -> None:
    """Remove the drafts in a folder whose writers were killed; drafts that cannot be removed stay."""
    for draft in folder.glob(f"{_DRAFT}*"):
        with _locked(draft) as is_abandoned:
            if not is_abandoned:
                continue
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                with suppress(OSError):
                    draft.unlink()


def sync(folder: Path) -> None:
    """Force a folder and everything in it to disk."""
    for path in (*folder.rglob("*"), folder):
        _sync_entry(path)


def _sync_entry(path: Path) -> None:
    if path.is_dir():
        if sys.platform == "win32":  # Windows cannot open folders
            return
        handle = os.open(path, os.O_RDONLY)
    else:
        handle = os.open(path, os.O_RDWR)  # Windows syncs only writable files
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked(path: Path, *, wait: bool = False) -> Iterator[bool]:
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
