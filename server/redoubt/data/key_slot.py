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


def key_slot(key: bytes) -> int:
    """Return the slot (0 to 16383) that holds `key`."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            return crc_hqx(key[start + 1 : end], 0) & (SLOTS - 1)
    return crc_hqx(key, 0) & (SLOTS - 1)
