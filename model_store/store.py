"""The model store: find, verify and publish releases, folders `<name>/<version>/` that never change."""

import hashlib
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from model_store.drafts import draft_folder
from model_store.errors import BrokenRelease, ReleaseNotFound
from model_store.manifest import FILE_NAME, NAME_PATTERN, Manifest

DEFAULT_ROOT = Path(__file__).parent / "releases"
WEIGHTS = "model.pt"
GOLDEN_IMAGE = "golden.jpg"
CARD = "README.md"

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Release:
    """A release folder and its manifest as read; `verify` checks the files against the manifest."""

    folder: Path
    manifest: Manifest

    @property
    def ref(self) -> str:
        """The reference that pins this release, `name@version`."""
        return f"{self.manifest.name}@{self.manifest.version}"

    def verify(self) -> None:
        """Compare every file with its sha256 in the manifest.

        Raises:
            BrokenRelease: a file is missing or was changed; the message names it.
        """
        for name in (WEIGHTS, *(image.file for image in self.manifest.golden)):
            if name not in self.manifest.files:
                raise BrokenRelease(f"{self.folder}: the manifest lists no {name}")
        for name, expected in self.manifest.files.items():
            path = self.folder / name
            try:
                if not path.resolve().is_relative_to(self.folder.resolve()):
                    raise BrokenRelease(f"{path}: leads out of the release's folder")
                actual = sha256_of(path)
            except OSError as error:
                raise BrokenRelease(f"{path}: {error.strerror}") from error
            if actual != expected:
                raise BrokenRelease(f"{path}: sha256 is {actual}, the manifest says {expected}")


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def open_release(folder: Path) -> Release:
    """Read a release from a folder anywhere.

    Raises:
        BrokenRelease: the folder holds no valid manifest.
    """
    return Release(folder, Manifest.read(folder))


def versions(root: Path, name: str) -> list[int]:
    """Return the version numbers of a name in a store, ascending, or an empty list."""
    folder = root / name
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if re.fullmatch(r"[1-9]\d*", path.name))


def find(root: Path, ref: str) -> Release:
    """Find a release in a store.

    Args:
        root: the folder that holds `<name>/<version>/`.
        ref: `name` for the highest version, `name@2` for version 2.

    Raises:
        ReleaseNotFound: no release has that name or version; the message lists those in the store.
        BrokenRelease: its manifest is invalid or belongs to another release.
    """
    name, _, pinned = ref.partition("@")
    if not re.fullmatch(NAME_PATTERN, name) or not re.fullmatch(r"[1-9]\d*|", pinned) or ref.endswith("@"):
        raise ReleaseNotFound(f"{ref!r} is no release reference; accepted: a name such as dice, or dice@6")
    available = versions(root, name)
    version = int(pinned) if pinned else max(available, default=0)
    if version not in available:
        known = [f"{path.name}@{v}" for path in _folders(root) for v in versions(root, path.name)]
        raise ReleaseNotFound(f"no release {ref!r} in {root}; there: {', '.join(known) or 'none'}")
    release = open_release(root / name / str(version))
    if (release.manifest.name, release.manifest.version) != (name, version):
        raise BrokenRelease(f"{release.folder}: the manifest is that of {release.ref}")
    return release


def locate(root: Path, ref: str) -> Release | Path:
    """Find a model by a path or a reference: a release folder, a release in the store, or a state dict's file.

    Args:
        root: the folder that holds `<name>/<version>/`.
        ref: a path, or a reference as for `find`.

    Raises:
        ReleaseNotFound: nothing is found.
        BrokenRelease: the release is invalid.
    """
    if not is_path(ref):
        return find(root, ref)
    path = Path(ref)
    if path.is_file():
        return path
    if (path / FILE_NAME).is_file():
        return open_release(path)
    raise ReleaseNotFound(f"{ref!r} is neither a state dict's file nor a folder with a {FILE_NAME}")


def is_path(ref: str) -> bool:
    """Return whether a reference, as for `locate`, is a path and not the name of a release in the store.

    A bare name is a path only if it leads to a file or a release's folder: a data set's folder `dice` does not hide the
    release `dice`.
    """
    path = Path(ref)
    return "/" in ref or "\\" in ref or path.is_file() or (path / FILE_NAME).is_file()


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if re.fullmatch(NAME_PATTERN, path.name)) if root.is_dir() else []


def fingerprint(root: Path, ref: str) -> str:
    """Return a fingerprint that changes when a reference leads to other files; no file is opened.

    Args:
        root: the folder that holds `<name>/<version>/`.
        ref: as for `locate`.

    Returns:
        Path, size and time of every file that the reference leads to, even if the release is incomplete; empty if
        nothing is found.

    Raises:
        OSError: the store cannot be read.
    """
    path = Path(ref)
    if not is_path(ref):
        name, _, pinned = ref.partition("@")
        path = root / name / (pinned or str(max(versions(root, name), default="")))
    told = []
    for file in sorted([path, *(Path(folder, name) for folder, _, names in os.walk(path) for name in names)]):
        with suppress(OSError):  # the file has been removed meanwhile
            status = file.stat()
            told.append(f"{file} {status.st_size} {status.st_mtime_ns} {status.st_ino}")
    return "\n".join(told)


def check_name(name: str) -> None:
    """Raise unless a release may have this name.

    Raises:
        ReleaseNotFound: the name is not allowed; the message gives the accepted form.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise ReleaseNotFound(f"{name!r} cannot name a release; accepted: lower-case letters, digits, '.', '_', '-'")


def publish(root: Path, name: str, fill: Callable[[Path, int], None], check: Callable[[Release], None]) -> Release:
    """Publish the next version of a name; all files appear at once, or none.

    Drafts of killed publishers are removed from the store; those of running publishers stay.

    Args:
        root: the store, created if missing.
        name: the release's name, lower-case letters, digits, `.`, `_` and `-`.
        fill: writes all files for a version into a folder, the manifest last; takes the folder and the version.
        check: raises if the written release is not as promised; such a release never becomes visible.

    Returns:
        The published release.

    Raises:
        ReleaseNotFound: `name` cannot be a release's name.
        BrokenRelease: the files written by `fill` do not verify.
        OSError: the store cannot be written.
    """
    check_name(name)
    (root / name).mkdir(parents=True, exist_ok=True)
    # A hidden folder in the same file system, so that the draft of a killed publisher is never taken for a release.
    with draft_folder(root, ".publishing-") as scratch:
        while True:
            version = max(versions(root, name), default=0) + 1
            draft = scratch / str(version)
            draft.mkdir()
            fill(draft, version)
            release = open_release(draft)
            release.verify()
            check(release)
            sync(draft)
            try:
                # fails if another publisher has taken the number meanwhile: a folder replaces only an empty one
                draft.rename(root / name / str(version))
            except FileExistsError:
                continue
            except OSError:
                if (root / name / str(version)).exists():
                    continue
                raise
            _sync_entry(root / name)
            return open_release(root / name / str(version))


def sync(folder: Path) -> None:
    """Make a folder's files readable for other users (such as a container's) and force them to disk."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
        _sync_entry(path)
    _sync_entry(folder)


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
