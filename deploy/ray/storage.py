"""Folders on any fsspec filesystem, given as a path or URL: photos, s3://bucket/photos, zip://::photos.zip."""

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
"""Prefix of files that are incomplete or no results. Readers of the folder skip them."""


class Storage:
    """A folder, which may not exist yet.

    Attributes:
        url: the given URL, or the given path made absolute, because other processes have another working folder.
    """

    def __init__(self, url: str) -> None:
        """Open the filesystem. fsspec's variables, such as FSSPEC_S3_ENDPOINT_URL, configure it.

        Raises:
            JobError: the URL is empty, its protocol is unknown, or the protocol's package is not installed.
        """
        if not url:
            raise JobError("the name of a folder is empty; accepted: a path or a URL")
        outer, chain, inner = url.rpartition("::")
        self.url = f"{outer}{chain}{Path(inner).absolute()}" if chain and "://" not in inner else url
        with _naming(url):
            self._fs, root = url_to_fs(self.url)
            self._fs.invalidate_cache()
        self._root = root.rstrip("/")
        if self._is_disk:
            self.url = self._root or "/"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Storage) and (self._fs, self._root) == (other._fs, other._root)

    @property
    def _is_disk(self) -> bool:
        return isinstance(self._fs, LocalFileSystem)

    __hash__ = None  # type: ignore[assignment]

    def photos(self) -> list[str]:
        """Return the sorted paths of all files with an image suffix, including subfolders, for `read`.

        Raises:
            JobError: the folder cannot be listed or holds no images.
        """
        with _naming(self.url):
            found = self._files()
            if not found and not self._fs.exists(self._root):
                raise JobError(f"{self.url}: no such folder")
        suffixes = images.file_formats()
        photos = sorted(path for path in found if PurePosixPath(path).suffix.lower() in suffixes)
        if not photos:
            raise JobError(f"{self.url}: no images among {len(found)} files")
        return photos

    def _files(self) -> list[str]:
        if not self._is_disk or not os.path.isdir(self._root):  # noqa: PTH112 - a path as fsspec has it
            return cast("list[str]", self._fs.find(self._root))
        walked = os.walk(self._root, onerror=_raise)  # fsspec would silently skip a folder that cannot be listed
        return [os.path.join(folder, name) for folder, _, names in walked for name in names]  # noqa: PTH118

    def name_of(self, path: str) -> str:
        """Return a file's public name: its absolute path on a local disk, else its URL."""
        if self._is_disk:
            return path
        _, chain, rest = self.url.partition("::")
        return f"{self._fs.unstrip_protocol(path)}{chain}{rest}"

    def read(self, path: str) -> bytes:
        """Return a file's bytes. Errors of the filesystem are raised unchanged."""
        return cast(bytes, self._fs.cat_file(path))

    def open(self, name: str) -> Any:
        """Open a file of this folder for reading."""
        return self._fs.open(f"{self._root}/{name}")

    def find(self, name: str) -> bytes | None:
        """Return the bytes of a file of this folder, or None if it does not exist.

        Raises:
            JobError: the file cannot be read.
        """
        with _naming(self.url):
            try:
                return self.read(f"{self._root}/{name}")
            except FileNotFoundError:
                return None

    def names(self) -> list[str]:
        """Return the sorted names of the folder's entries, without subfolders' entries. Create a missing folder.

        Raises:
            JobError: the folder cannot be created or listed.
        """
        with _naming(self.url):
            self._fs.makedirs(self._root, exist_ok=True)
            return sorted(PurePosixPath(path).name for path in self._fs.ls(self._root, detail=False))

    def write(self, name: str, data: bytes) -> None:
        """Write a file of this folder atomically: readers see the old file or the complete new one.

        Raises:
            JobError: the file cannot be written.
        """
        draft = f"{self._root}/{_UNFINISHED}{uuid4().hex}.{_DRAFT}"
        with _naming(self.url):
            self._fs.pipe_file(draft, data)
            self._fs.mv(draft, f"{self._root}/{name}")

    def remove(self, name: str) -> None:
        """Delete a file of this folder.

        Raises:
            JobError: the file cannot be deleted.
        """
        with _naming(self.url):
            self._fs.rm_file(f"{self._root}/{name}")


_DRAFT = "draft"


def is_draft(name: str) -> bool:
    """Return whether a file is the unfinished draft of an interrupted `Storage.write`."""
    return name.startswith(_UNFINISHED) and name.endswith(f".{_DRAFT}")


def _raise(error: OSError) -> None:
    raise error


@contextmanager
def _naming(url: str) -> Iterator[None]:
    """Turn any error of the block into a JobError that names the folder."""
    try:
        yield
    except JobError:
        raise
    except Exception as error:  # filesystems raise whatever their libraries do: aiohttp's, botocore's, ...
        reason = str(error).strip().partition("\n")[0]
        reason = type(error).__name__ if reason in url else reason  # some errors only repeat the URL
        raise JobError(f"{url}: {reason}") from error
