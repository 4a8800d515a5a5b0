"""One seed from several numbers: what is drawn by it depends on them alone, not on what was drawn before."""

import hashlib


def mixed_seed(*numbers: int) -> int:
    """Return one 63-bit seed from several numbers."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
