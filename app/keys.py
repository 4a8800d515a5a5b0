"""Make an API key: `python -m app.keys NAME`."""

import argparse
import secrets
import sys
from collections.abc import Sequence

from app.http.keys import LINE, SCOPES, hash_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Make an API key. Write its line for the keys file to stdout and the key to stderr; the key is stored nowhere."""
    parser = argparse.ArgumentParser(
        "python -m app.keys",
        description="Make an API key. The line for RENDERSIGHT_API_KEYS_FILE goes to stdout, the key to stderr.",
    )
    parser.add_argument("name", help="name of the key's owner: letters, digits, '.', '_', '-'")
    parser.add_argument(
        "--scope", action="append", choices=SCOPES, help="scope of the key; repeat for several (default: detect)"
    )
    options = parser.parse_args(arguments)
    key = f"rs_{secrets.token_urlsafe(32)}"
    line = f"{options.name} {','.join(dict.fromkeys(options.scope or ['detect']))} {hash_of(key)}"
    if LINE.fullmatch(line) is None:
        parser.error(f"argument name: {options.name!r} is not accepted; accepted: letters, digits, '.', '_', '-'")
    sys.stdout.write(f"{line}\n")
    sys.stderr.write(f"API key of {options.name} (shown only once): {key}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
