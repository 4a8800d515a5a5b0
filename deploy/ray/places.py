"""Folders on any filesystem that fsspec knows, by a path or a URL: photos, s3://bucket/photos, zip://::photos.zip."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, cast
from uuid import uuid4

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from deploy.ray.errors import JobError
from rendersight import images

_UNFINISHED = "_"
"""What the name of a file begins with that may be half written, or is none of the results: readers skip it."""


class Place:
    """A folder, perhaps not there yet.

    Attributes:
        url: as it was given, a path as an absolute one: other processes begin elsewhere.
    """

    def __init__(self, url: str) -> None:
        """Find the filesystem; variables such as FSSPEC_S3_ENDPOINT_URL configure it (fsspec's own rule).

        Raises:
            JobError: no filesystem of this protocol, or its package is not installed.
        """
        if not url:
            raise JobError("a folder without a name is given; accepted is a path or a URL")
        outer, chain, inner = url.rpartition("::")
        self.url = f"{outer}{chain}{Path(inner).absolute()}" if chain and "://" not in inner else url
        with _naming(url):
            self._fs, root = url_to_fs(self.url)
            self._fs.invalidate_cache()
        self._root = root.rstrip("/")
        if self._is_disk:
            self.url = self._root or "/"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and (self._fs, self._root) == (other._fs, other._root)

    @property
    def _is_disk(self) -> bool:
        return isinstance(self._fs, LocalFileSystem)

    __hash__ = None  # type: ignore[assignment]

    def photos(self) -> list[str]:
        """Return the paths, for `read`, of all files that end like an image, also in folders below, sorted.

        Raises:
            JobError: it cannot be listed, or holds none.
        """
        with _naming(self.url):
            found = self._files()
            if not found and not self._fs.exists(self._root):
                raise JobError(f"{self.url}: no such folder can be reached")
        suffixes = images.file_formats()
        photos = sorted(path for path in found if PurePosixPath(path).suffix.lower() in suffixes)
        if not photos:
            raise JobError(f"{self.url}: no images among {len(found)} files")
        return photos

    def _files(self) -> list[str]:
        if not self._is_disk or not os.path.isdir(self._root):  # noqa: PTH112 - a path as fsspec has it
            return cast("list[str]", self._fs.find(self._root))
        walked = os.walk(self._root, onerror=_raise)  # fsspec would leave out a folder that cannot be listed
        return [os.path.join(folder, name) for folder, _, names in walked for name in names]  # noqa: PTH118

    def name_of(self, path: str) -> str:
        """Return what a file is called outside: its absolute path, elsewhere than on a disk its URL."""
        if self._is_disk:
            return path
        _, chain, rest = self.url.partition("::")
        return f"{self._fs.unstrip_protocol(path)}{chain}{rest}"

    def read(self, path: str) -> bytes:
        """Return a file's bytes; raises whatever the filesystem raises."""
        return cast(bytes, self._fs.cat_file(path))

    def open(self, name: str) -> Any:
        """Open a file of this folder for reading."""
        return self._fs.open(f"{self._root}/{name}")

    def find(self, name: str) -> bytes | None:
        """Return the bytes of a file of this folder, None where there is none.

        Raises:
            JobError: it cannot be read.
        """
        with _naming(self.url):
            try:
                return self.read(f"{self._root}/{name}")
            except FileNotFoundError:
                return None

    def names(self) -> list[str]:
        """Return the names of what is in the folder itself, sorted; make it, should it be missing.

        Raises:
            JobError: it cannot be made or listed.
        """
        with _naming(self.url):
            self._fs.makedirs(self._root, exist_ok=True)
            return sorted(PurePosixPath(path).name for path in self._fs.ls(self._root, detail=False))

    def write(self, name: str, data: bytes) -> None:
        """Write a file of this folder: it is there as a whole, or as it was before.

        Raises:
            JobError: it cannot be written.
        """
        draft = f"{self._root}/{_UNFINISHED}{uuid4().hex}.{_DRAFT}"
        with _naming(self.url):
            self._fs.pipe_file(draft, data)
            self._fs.mv(draft, f"{self._root}/{name}")

    def remove(self, name: str) -> None:
        """Delete a file of this folder.

        Raises:
            JobError: it cannot be deleted.
        """
        with _naming(self.url):
            self._fs.rm_file(f"{self._root}/{name}")


_DRAFT = "draft"


def is_draft(name: str) -> bool:
    """Tell whether a file is what an interrupted `Place.write` has left."""
    return name.startswith(_UNFINISHED) and name.endswith(f".{_DRAFT}")


def _raise(error: OSError) -> None:
    raise error


@contextmanager
def _naming(url: str) -> Iterator[None]:
    """Say of which place it is that something cannot be done there."""
    try:
        yield
    except JobError:
        raise
    except Exception as error:  # filesystems raise whatever their libraries do: aiohttp's, botocore's, ...
        reason = str(error).strip().partition("\n")[0]
        reason = type(error).__name__ if reason in url else reason  # some say no more than what was asked for
        raise JobError(f"{url}: {reason}") from error
