"""Ziplists and zipmaps: how files before Redis 7.0 (and 2.6) hold small structures; read, never written.

    ziplist = total bytes (4) | offset of the last entry (4) | number of entries (2) | entry ... | FF
    entry   = length of the entry before (1 or 5) | encoding and content
    zipmap  = number of pairs (1) | key | value ... | FF;  a value is followed by unused bytes, told before it

A reader takes the texts out and packs them anew as a listpack, which is what the value is in memory. That
walk checks everything on its way: sizes, the lengths that lead backwards, the count and the offset of the
last entry. What does not fit is no ziplist, and None is returned.

Called by the readers of lists, sets, hashes and sorted sets. It knows no fields and no scores.
Source: the head comments of Redis `src/ziplist.c` and `src/zipmap.c`.
"""

from __future__ import annotations

from typing import Final

_HEADER_BYTES: Final = 10
_END: Final = 0xFF
# The length of the entry before takes one byte up to here, else this byte and four more.
_LONG_BEFORE: Final = 0xFE
# The header's count has 16 bits; this value says that the entries must be counted.
_COUNT_UNKNOWN: Final = 0xFFFF
# Encoding byte of an integer: how many bytes follow.
_INTEGER_BYTES: Final = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}
# Encoding bytes that are themselves the numbers 0 to 12.
_SMALL_FIRST: Final = 0xF1
_SMALL_LAST: Final = 0xFD
# From here on the first byte of a zipmap does not say how many pairs there are.
_ZIPMAP_COUNT_UNKNOWN: Final = 254


def ziplist_texts(data: bytes) -> list[bytes] | None:
    """Return the texts of a ziplist in their order, or None if it is none."""
    size = len(data)
    if size < _HEADER_BYTES + 1 or int.from_bytes(data[:4], "little") != size or data[-1] != _END:
        return None
    found: list[bytes] = []
    past = size - 1
    at = _HEADER_BYTES
    last = at  # where the latest entry begins
    while at < past:
        before = data[at]
        head = at + 1
        if before >= _LONG_BEFORE:
            before = int.from_bytes(data[head : head + 4], "little")
            head += 4
        if head >= past or before != at - last:
            return None
        first, end = _content(data, head)
        if end > past:
            return None
        found.append(data[first:end] if data[head] < 0xC0 else b"%d" % _integer(data, head, first, end))
        last = at
        at = end
    claimed = int.from_bytes(data[8:10], "little")
    is_whole = int.from_bytes(data[4:8], "little") == last and claimed in (len(found), _COUNT_UNKNOWN)
    return found if is_whole else None


def _content(data: bytes, head: int) -> tuple[int, int]:
    """Return where the content of an entry begins and ends; an end behind everything: unknown encoding."""
    code = data[head]
    if code < 0x40:
        return head + 1, head + 1 + code
    if code < 0x80:
        return head + 2, head + 2 + ((code & 0x3F) << 8 | data[head + 1])
    if code == 0x80:
        return head + 5, head + 5 + int.from_bytes(data[head + 1 : head + 5], "big")
    if _SMALL_FIRST <= code <= _SMALL_LAST:
        return head + 1, head + 1
    return head + 1, head + 1 + _INTEGER_BYTES.get(code, len(data))


def _integer(data: bytes, head: int, first: int, end: int) -> int:
    code = data[head]
    if _SMALL_FIRST <= code <= _SMALL_LAST:
        return code - _SMALL_FIRST
    return int.from_bytes(data[first:end], "little", signed=True)


def zipmap_texts(data: bytes) -> list[bytes] | None:
    """Return the keys and values of a zipmap in turn, or None if it is none."""
    if len(data) < 2 or data[-1] != _END:
        return None
    found: list[bytes] = []
    past = len(data) - 1
    at = 1
    while at < past:
        size = data[at]
        at += 1
        if size >= _LONG_BEFORE:
            size = int.from_bytes(data[at : at + 4], "little")
            at += 4
        is_value = len(found) % 2 == 1
        unused = 0
        if is_value:
            if at >= past:
                return None
            unused = data[at]
            at += 1
        found.append(data[at : at + size])
        at += size + unused
        if at > past:
            return None
    is_whole = len(found) % 2 == 0 and (data[0] >= _ZIPMAP_COUNT_UNKNOWN or data[0] == len(found) // 2)
    return found if is_whole else None
