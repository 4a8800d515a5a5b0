"""API keys: who may ask for what. The file holds hashes, never a key; `app.keys` makes a new one.

A key has 256 random bits, so its plain SHA-256 tells nothing: there is no shorter way than to guess it.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCOPES = ("detect", "metrics", "admin")
"""`detect`: /detect, /models, the models below /v2. `metrics`: /metrics. `admin`: /models/reload. None has another."""

LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64})\s+(?P<scopes>[a-z,]+)\s+(?P<sha256>[0-9a-f]{64})")
"""Of the file."""

_FORMAT = f"accepted: NAME SCOPES SHA256, where SCOPES are of {', '.join(SCOPES)} with commas between"


class WrongKeysFile(ValueError):
    """The file of keys cannot be taken; the message, one line, says where and what is accepted."""


@dataclass(frozen=True)
class Key:
    """One line of the file.

    Attributes:
        name: whose it is; it stands in the log.
        scopes: of `SCOPES`.
        sha256: hex, of the key's ASCII text.
    """

    name: str
    scopes: frozenset[str]
    sha256: str


class Keys:
    """All keys that are known."""

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        self._keys = tuple(keys)

    def find(self, text: str) -> Key | None:
        """Return the key that a client has sent, in a time that does not depend on which it is."""
        given = hash_of(text)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, given):
                found = key
        return found


def hash_of(text: str) -> str:
    """Return what the file holds of a key, hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def read_keys(path: Path) -> Keys:
    """Read a file of keys: one a line, empty lines and those that begin with # left out.

    Raises:
        WrongKeysFile: it cannot be read, or a line is not a key's, or a name or key is there twice.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongKeysFile(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    keys: list[Key] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = LINE.fullmatch(text)
        if match is None or not (scopes := frozenset(match["scopes"].split(","))) <= set(SCOPES):
            raise WrongKeysFile(f"{path}:{number}: not a key's line; {_FORMAT}")
        keys.append(Key(match["name"], scopes, match["sha256"]))
        if any(known.name == match["name"] or known.sha256 == match["sha256"] for known in keys[:-1]):
            raise WrongKeysFile(f"{path}:{number}: the name {match['name']!r} or its key is there twice")
    return Keys(keys)
