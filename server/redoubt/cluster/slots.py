"""Hash slots: the algebra of sets of slots, and the one name from which to import a key's slot.

A set of slots is one of two things: a mask (an int whose bit n is slot n: union, difference and comparison
are single operations, and its little-endian bytes are the bitmap of the bus protocol) or a list of inclusive
ranges in rising order, which is what people and commands read.

Routing, the bus, nodes.conf and the operator's planner call this. It knows no nodes.

Source: the Redis Cluster specification, "Key distribution model"; CLUSTER NODES for the notation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from redoubt.data.key_slot import SLOTS, key_slot

__all__ = [
    "ALL_SLOTS",
    "BITMAP_BYTES",
    "SLOTS",
    "SlotRange",
    "bitmap_to_mask",
    "count",
    "format_ranges",
    "key_slot",
    "mask_of",
    "mask_of_ranges",
    "mask_to_bitmap",
    "parse_ranges",
    "ranges_of",
    "slots_of",
    "spread_evenly",
]

BITMAP_BYTES: Final = SLOTS // 8
# Not a shift: the compiler folds constants, and does not survive one of 16384 bits.
ALL_SLOTS: Final = int.from_bytes(b"\xff" * BITMAP_BYTES, "little")

SlotRange = tuple[int, int]


def mask_of(slots: Iterable[int]) -> int:
    """Collect slots into a mask."""
    bitmap = bytearray(BITMAP_BYTES)
    for slot in slots:
        bitmap[slot >> 3] |= 1 << (slot & 7)
    return int.from_bytes(bitmap, "little")


def mask_of_ranges(ranges: Iterable[SlotRange]) -> int:
    """Collect inclusive ranges, in any order and overlapping as they like, into a mask."""
    mask = 0
    for first, last in ranges:
        mask |= ((1 << (last - first + 1)) - 1) << first
    return mask


def ranges_of(mask: int) -> list[SlotRange]:
    """List the maximal inclusive ranges of a mask in rising order."""
    ranges: list[SlotRange] = []
    base = 0
    while mask:
        gap = (mask & -mask).bit_length() - 1
        mask >>= gap
        run = (~mask & (mask + 1)).bit_length() - 1
        ranges.append((base + gap, base + gap + run - 1))
        mask >>= run
        base += gap + run
    return ranges


def slots_of(mask: int) -> Iterator[int]:
    """Walk through the slots of a mask in rising order."""
    for first, last in ranges_of(mask):
        yield from range(first, last + 1)


def count(mask: int) -> int:
    """Count the slots of a mask."""
    return mask.bit_count()


def mask_to_bitmap(mask: int) -> bytes:
    """Write a mask as the 2048 bytes of the bus protocol: slot n is bit n % 8 of byte n // 8."""
    return mask.to_bytes(BITMAP_BYTES, "little")


def bitmap_to_mask(bitmap: bytes) -> int:
    """Read the 2048 bytes of the bus protocol."""
    return int.from_bytes(bitmap, "little")


def parse_ranges(text: str) -> list[SlotRange]:
    """Read `0-5460 7000 8000-8001`, the notation of CLUSTER NODES; ValueError if malformed."""
    ranges: list[SlotRange] = []
    for word in text.split():
        first_text, dash, last_text = word.partition("-")
        if not first_text.isdigit() or (dash and not last_text.isdigit()):
            raise ValueError(f"expected a slot or a slot range, found {word!r}")
        first = int(first_text)
        last = int(last_text) if dash else first
        if not 0 <= first <= last < SLOTS:
            raise ValueError(f"expected slots from 0 to {SLOTS - 1} in rising order, found {word!r}")
        ranges.append((first, last))
    return ranges


def format_ranges(ranges: Iterable[SlotRange]) -> str:
    """Write ranges as CLUSTER NODES does: `0-5460 7000`."""
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def spread_evenly(shards: int) -> list[SlotRange]:
    """Divide all slots among shards, contiguously, as `redis-cli --cluster create` does.

    The sizes differ by one at most.
    """
    per_shard = SLOTS / shards
    ranges: list[SlotRange] = []
    first = 0
    cursor = 0.0
    for shard in range(shards):
        last = round(cursor + per_shard - 1)
        if last > SLOTS - 1 or shard == shards - 1:
            last = SLOTS - 1
        last = max(last, first)
        ranges.append((first, last))
        first = last + 1
        cursor += per_shard
    return ranges
