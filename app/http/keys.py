"""API keys and their scopes. The keys file holds hashes, never a key; `app.keys` makes a new key.

A plain SHA-256 is enough, because a key has 256 random bits: nobody can find it by guessing.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCOPES = ("detect", "metrics", "admin")
"""`detect`: /detect, /models, the models below /v2. `metrics`: /metrics. `admin`: /models/reload.

No scope includes another.
"""

LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64})\s+(?P<scopes>[a-z,]+)\s+(?P<sha256>[0-9a-f]{64})")
"""One line of the keys file."""

_FORMAT = f"accepted: NAME SCOPES SHA256, where SCOPES are {', '.join(SCOPES)}, separated by commas"


class InvalidKeysFile(ValueError):
    """An unreadable or invalid keys file. The message is one line with the place and the accepted format."""


@dataclass(frozen=True)
class Key:
    """One API key, as the keys file holds it.

    Attributes:
        name: name of the key's owner, shown in the log.
        scopes: the key's scopes, a subset of `SCOPES`.
        sha256: SHA-256 of the key's ASCII text, hex.
    """

    name: str
    scopes: frozenset[str]
    sha256: str


class Keys:
    """The known API keys."""

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        self._keys = tuple(keys)

    def find(self, text: str) -> Key | None:
        """Return the known key with this text, or None. The time does not depend on which key it is."""
        given = hash_of(text)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, given):
                found = key
        return found


def hash_of(text: str) -> str:
    """Return the SHA-256 of a key's text, hex, as the keys file holds it."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def read_keys(path: Path) -> Keys:
    """Read a keys file: one key per line. Empty lines and lines that begin with # are ignored.

    Raises:
        InvalidKeysFile: the file cannot be read, a line is invalid, or a name or key is repeated.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidKeysFile(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    keys: list[Key] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = LINE.fullmatch(text)
        if match is None or not (scopes := frozenset(match["scopes"].split(","))) <= set(SCOPES):
            raise InvalidKeysFile(f"{path}:{number}: not a valid line; {_FORMAT}")
        keys.append(Key(match["name"], scopes, match["sha256"]))
        if any(known.name == match["name"] or known.sha256 == match["sha256"] for known in keys[:-1]):
            raise InvalidKeysFile(f"{path}:{number}: the name {match['name']!r} or its key is repeated")
    return Keys(keys)
