"""Intsets: a few distinct integers in one `bytes`, sorted, byte for byte as Redis packs them.

    bytes per integer: 2, 4 or 8 (4) | number of integers (4) | integers, ascending, signed, little-endian

All integers take as many bytes as the widest one ever put in. Like a listpack, an intset never changes: each
change makes a new one, a short copy. A search is a binary one.

Called by sets. It knows no texts and no limits. An intset from outside must pass `is_sound` once.
Source: Redis `src/intset.c`.
"""

from __future__ import annotations

from typing import Final

EMPTY: Final = b"\x02\x00\x00\x00\x00\x00\x00\x00"
FIRST: Final = 8
_WIDTHS: Final = (2, 4, 8)


def length(pack: bytes) -> int:
    """Return how many integers there are."""
    return int.from_bytes(pack[4:8], "little")


def number_at(pack: bytes, index: int) -> int:
    """Return the integer with this index, in ascending order."""
    width = pack[0]
    at = FIRST + index * width
    return int.from_bytes(pack[at : at + width], "little", signed=True)


def numbers(pack: bytes) -> list[int]:
    """Return all integers in ascending order."""
    return [number_at(pack, index) for index in range(length(pack))]


def place_of(pack: bytes, number: int) -> int:
    """Return the index of the first integer that is not below `number`."""
    low = 0
    past = length(pack)
    while low < past:
        middle = (low + past) >> 1
        if number_at(pack, middle) < number:
            low = middle + 1
        else:
            past = middle
    return low


def has(pack: bytes, number: int) -> bool:
    """Say whether the integer is in it."""
    place = place_of(pack, number)
    return place < length(pack) and number_at(pack, place) == number


def build(ascending: list[int]) -> bytes:
    """Pack integers that are sorted and distinct."""
    width = max([_width_of(number) for number in (ascending[0], ascending[-1])]) if ascending else 2
    return _pack(width, ascending)


def added(pack: bytes, number: int) -> bytes:
    """Return the intset with one integer more, which must not be in it."""
    width = pack[0]
    wanted = _width_of(number)
    if wanted > width:
        # Wider than all others means before or behind all others.
        others = numbers(pack)
        return _pack(wanted, [number, *others] if number < 0 else [*others, number])
    at = FIRST + place_of(pack, number) * width
    count = (length(pack) + 1).to_bytes(4, "little")
    return pack[:4] + count + pack[FIRST:at] + number.to_bytes(width, "little", signed=True) + pack[at:]


def removed(pack: bytes, number: int) -> bytes:
    """Return the intset without an integer, which must be in it."""
    width = pack[0]
    at = FIRST + place_of(pack, number) * width
    count = (length(pack) - 1).to_bytes(4, "little")
    return pack[:4] + count + pack[FIRST:at] + pack[at + width :]


def is_sound(pack: bytes, is_deep: bool = True) -> bool:
    """Say whether an intset from outside is what it claims to be: sizes, and if deep also order."""
    if len(pack) < FIRST or int.from_bytes(pack[:4], "little") not in _WIDTHS:
        return False
    if len(pack) != FIRST + pack[0] * length(pack):
        return False
    if not is_deep:
        return True
    found = numbers(pack)
    return all(found[index] < found[index + 1] for index in range(len(found) - 1))


def _width_of(number: int) -> int:
    if -(1 << 15) <= number < 1 << 15:
        return 2
    return 4 if -(1 << 31) <= number < 1 << 31 else 8


def _pack(width: int, ascending: list[int]) -> bytes:
    parts = [width.to_bytes(4, "little"), len(ascending).to_bytes(4, "little")]
    for number in ascending:
        parts.append(number.to_bytes(width, "little", signed=True))
    return b"".join(parts)
