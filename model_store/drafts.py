"""What is being written and not yet there: a draft is locked while its maker lives, so that a killed one's is known."""

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
    """Make a new folder `<prefix>...` to write in, and remove those of the same prefix whose makers were killed.

    Raises:
        OSError: it cannot be made.
    """
    remove_abandoned(parent.glob(f"{prefix}*"))
    with ExitStack() as stack:
        draft = None
        while draft is None or not draft.exists():  # one that others saw before it was locked is abandoned to them
            draft = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            stack.callback(shutil.rmtree, draft, ignore_errors=True)
            stack.enter_context(locked(draft, wait=True))
        yield draft


def remove_abandoned(drafts: Iterable[Path]) -> None:
    """Remove the files and folders that no living process has locked; what cannot be removed stays."""
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
    """Lock a file or folder and tell whether it is; the lock ends with the block or the process, however that ends.

    It is not locked where somebody else has locked it (with `wait` that one is waited for) and where the system has no
    such locks: on Windows and on some network file systems, where an abandoned draft then stays.
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
