"""Derived seeds, which make a random draw independent of all earlier draws."""

import hashlib


def mixed_seed(*numbers: int) -> int:
    """Hash several numbers into one 63-bit seed."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
