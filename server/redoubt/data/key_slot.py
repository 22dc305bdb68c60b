"""The hash slot of a key: CRC16 of the key, or of its hash tag, modulo 16384.

If a key holds a `{` and, after it, a `}` with at least one byte between them, only those bytes count: keys
with equal tags share a slot. CRC16 is the XMODEM polynomial, which `binascii.crc_hqx` computes.

Called by the keyspace (in cluster mode the slot leads the index), by the cluster and by the operator.
Source: Redis cluster specification, "Hash tags".
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

SLOTS: Final = 16384
SLOT_BITS: Final = 14
# What a pattern matches with, and the character that takes its meaning away, which is not looked behind.
GLOB_SPECIALS: Final = (b"*", b"?", b"[", b"\\")


def key_slot(key: bytes) -> int:
    """Return the slot (0 to 16383) that holds `key`."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            return crc_hqx(key[start + 1 : end], 0) & (SLOTS - 1)
    return crc_hqx(key, 0) & (SLOTS - 1)


def pattern_slot(pattern: bytes) -> int:
    """Return the slot of every key that a glob pattern may match; -1 if they may lie in several.

    They share a slot if the hash tag stands before everything that means something in a pattern.
    """
    specials = [place for place in [pattern.find(special) for special in GLOB_SPECIALS] if place >= 0]
    if not specials:
        return key_slot(pattern)
    plain = pattern[: min(specials)]
    start = plain.find(b"{")
    if start < 0 or plain.find(b"}", start + 1) <= start + 1:
        return -1
    return key_slot(plain)
