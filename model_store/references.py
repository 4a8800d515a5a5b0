"""References to models: the name of a release in the store, such as `dice` or `dice@6`, or a path.

A path leads to a release's folder or to the file of a state dict. This module alone parses references.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from model_store.errors import ReleaseNotFound
from model_store.manifest import FILE_NAME, NAME_PATTERN


@dataclass(frozen=True)
class ReleaseRef:
    """A reference to a release in the store.

    Attributes:
        name: name of the release.
        version: the pinned version; None for the highest.
    """

    name: str
    version: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `name` or `name@version`.

        Raises:
            ReleaseNotFound: the text has another form.
        """
        name, at, version = text.partition("@")
        if not re.fullmatch(NAME_PATTERN, name) or not re.fullmatch(r"[1-9]\d*" if at else "", version):
            raise ReleaseNotFound(f"{text!r} is no release reference; accepted: a name such as dice, or dice@6")
        return cls(name, int(version) if at else None)


def parse(text: str) -> ReleaseRef | Path:
    """Parse a reference to a release in the store, or a path.

    A text without a slash is a path only if it leads to a file or a release's folder: a dataset's folder `dice` does
    not hide the release `dice`.

    Raises:
        ReleaseNotFound: the text is neither.
    """
    path = Path(text)
    if "/" in text or "\\" in text or path.is_file() or (path / FILE_NAME).is_file():
        return path
    return ReleaseRef.parse(text)
