"""Ziplists, zipmaps and the values of old RDB files, encoded as their documentation says.

No server at hand writes them any more (Redis 7.0 was the first without), so the tests bring an encoder of
their own, which shares no line with the reader. Source: the head comments of Redis 6.2's `ziplist.c` and of
2.4's `zipmap.c`, and Sripathi Krishnan's description of the file format.
"""

from __future__ import annotations

from redoubt.persist.checksum import crc64


def is_integer(text: bytes) -> bool:
    """Say whether Redis would store a text as an integer of at most 64 bits."""
    return text.lstrip(b"-").isdigit() and b"%d" % int(text) == text and -(1 << 63) <= int(text) < 1 << 63


def encoded(text: bytes) -> bytes:
    """Return encoding and content of one entry, in the smallest form."""
    if is_integer(text):
        number = int(text)
        if 0 <= number <= 12:
            return bytes([0xF1 + number])
        for code, size in ((0xFE, 1), (0xC0, 2), (0xF0, 3), (0xD0, 4), (0xE0, 8)):
            if -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1:
                return bytes([code]) + number.to_bytes(size, "little", signed=True)
    if len(text) < 64:
        return bytes([len(text)]) + text
    if len(text) < 16384:
        return (0x4000 | len(text)).to_bytes(2, "big") + text
    return b"\x80" + len(text).to_bytes(4, "big") + text


def ziplist(texts: list[bytes]) -> bytes:
    """Pack texts into a ziplist."""
    body = b""
    before = 0
    last = 10
    for text in texts:
        entry = bytes([before]) if before < 254 else b"\xfe" + before.to_bytes(4, "little")
        entry += encoded(text)
        last = 10 + len(body)
        body += entry
        before = len(entry)
    count = min(len(texts), 0xFFFF)
    head = (10 + len(body) + 1).to_bytes(4, "little") + last.to_bytes(4, "little")
    return head + count.to_bytes(2, "little") + body + b"\xff"


def zipmap(pairs: list[tuple[bytes, bytes]], unused: int = 0) -> bytes:
    """Pack pairs into a zipmap, with so many unused bytes behind each value."""
    body = b"".join(
        _zipmap_length(key) + key + _zipmap_length(value) + bytes([unused]) + value + b"\x00" * unused
        for key, value in pairs
    )
    return bytes([min(len(pairs), 254)]) + body + b"\xff"


def _zipmap_length(text: bytes) -> bytes:
    return bytes([len(text)]) if len(text) < 254 else b"\xfe" + len(text).to_bytes(4, "little")


def length(number: int) -> bytes:
    """Encode a length as RDB has it."""
    if number < 64:
        return bytes([number])
    return (0x4000 | number).to_bytes(2, "big") if number < 16384 else b"\x80" + number.to_bytes(4, "big")


def string(text: bytes) -> bytes:
    """Encode a string as RDB has it, in the plainest form."""
    return length(len(text)) + text


def entry(type_byte: int, key: bytes, value: bytes) -> bytes:
    """Return one key with its encoded value."""
    return bytes([type_byte]) + string(key) + value


def file(body: bytes, version: int) -> bytes:
    """Return a whole file; those before version 5 have no checksum."""
    data = b"REDIS%04d" % version + body + b"\xff"
    return data if version < 5 else data + crc64(data).to_bytes(8, "little")
