"""Listpacks: a short sequence of strings in one `bytes`, byte for byte as Redis packs them.

A Python object per element costs more than most elements: a hash of five short fields as a dict takes four
times what Redis takes. So small hashes, sets and sorted sets, and the chunks of every list, are one packed
`bytes` each, and the packing is Redis's own listpack: RDB, DUMP and full syncs then write and read a value as
it lies in memory.

    total bytes (4) | number of entries (2) | entry ... | FF
    entry = encoding and content | length of that, so that one can walk backwards

A text that reads as a canonical 64-bit integer is stored as an integer of 1 to 9 bytes, as Redis does, and
comes back as the same text. Positions are offsets in the pack; the first entry is at `FIRST`, and a position
that holds `END` lies behind the last. Nothing here changes a pack: `splice` returns a new one, which for
packs of at most a few KiB is one short copy.

Called by the data types. It knows no fields, scores or limits. A pack from outside must pass `is_sound` once;
after that no bounds are checked. Source: `listpack.md` of Salvatore Sanfilippo and Redis `src/listpack.c`.
"""

from __future__ import annotations

from typing import Final

from redoubt.data.text import INTEGER_LENGTH_MAX, parse_integer

FIRST: Final = 6
END: Final = 0xFF
EMPTY: Final = b"\x07\x00\x00\x00\x00\x00\xff"
# The header's count has 16 bits; this value says that the entries must be counted.
COUNT_UNKNOWN: Final = 0xFFFF
# Redis refuses to grow a listpack beyond this.
PACK_BYTES_MAX: Final = 1 << 30

# Looked up instead of built anew at every change: what stands around short texts, and the parts of headers.
_SMALL_INTEGERS: Final = [bytes([number, 1]) for number in range(128)]
_TEXT_HEADS: Final = [bytes([0x80 | size]) for size in range(64)]
_TEXT_ENDS: Final = [bytes([1 + size]) for size in range(64)]
_SIZES: Final = [size.to_bytes(4, "little") for size in range(2048)]
_COUNTS: Final = [count.to_bytes(2, "little") for count in range(1024)]


def encode(text: bytes) -> bytes:
    """Return the whole entry for a text."""
    size = len(text)
    if 0 < size <= INTEGER_LENGTH_MAX and text[0] <= 57:
        number = parse_integer(text)
        if number is not None:
            return encode_integer(number)
    if size < 64:
        return _TEXT_HEADS[size] + text + _TEXT_ENDS[size]
    if size < 4096:
        head = bytes([0xE0 | size >> 8, size & 0xFF])
    else:
        head = b"\xf0" + size.to_bytes(4, "little")
    return head + text + _length_behind(len(head) + size)


def encode_integer(number: int) -> bytes:
    """Return the whole entry for a 64-bit integer."""
    if 0 <= number < 128:
        return _SMALL_INTEGERS[number]
    if -4096 <= number < 4096:
        bits = number & 0x1FFF
        return bytes([0xC0 | bits >> 8, bits & 0xFF, 2])
    if -(1 << 15) <= number < 1 << 15:
        return b"\xf1" + number.to_bytes(2, "little", signed=True) + b"\x03"
    if -(1 << 23) <= number < 1 << 23:
        return b"\xf2" + number.to_bytes(3, "little", signed=True) + b"\x04"
    if -(1 << 31) <= number < 1 << 31:
        return b"\xf3" + number.to_bytes(4, "little", signed=True) + b"\x05"
    return b"\xf4" + number.to_bytes(8, "little", signed=True) + b"\x09"


def build(texts: list[bytes]) -> bytes:
    """Pack these texts."""
    return assemble(b"".join([encode(text) for text in texts]), len(texts))


def assemble(entries: bytes, count: int) -> bytes:
    """Put header and end around encoded entries."""
    return _header(len(entries) + FIRST + 1, count) + entries + b"\xff"


def _header(size: int, count: int) -> bytes:
    """Return the first bytes of a pack of `size` bytes."""
    head = _SIZES[size] if size < len(_SIZES) else size.to_bytes(4, "little")
    tail = _COUNTS[count] if count < len(_COUNTS) else min(count, COUNT_UNKNOWN).to_bytes(2, "little")
    return head + tail


def splice(pack: bytes, at: int, past: int, entries: bytes, count: int) -> bytes:
    """Return the pack with encoded `entries` instead of what stands from `at` to before `past`.

    count: how many entries the new pack has, if it is known; -1 has them counted.
    """
    if count < 0:
        body = pack[FIRST:at] + entries + pack[past:-1]
        return assemble(body, count_entries(body, 0, len(body)))
    header = _header(len(pack) - (past - at) + len(entries), count)
    if at == FIRST:
        return b"".join((header, entries, pack[past:]))
    return b"".join((header, pack[FIRST:at], entries, pack[past:]))


def length(pack: bytes) -> int:
    """Return the number of entries; O(1) up to 65534 of them."""
    count = pack[4] | pack[5] << 8
    return count if count != COUNT_UNKNOWN else count_entries(pack, FIRST, len(pack) - 1)


def count_entries(data: bytes, at: int, past: int) -> int:
    """Count the entries from `at` to before `past`."""
    count = 0
    while at < past:
        at = next_entry(data, at)
        count += 1
    return count


def next_entry(pack: bytes, at: int) -> int:
    """Return the position behind the entry at `at`."""
    head = pack[at]
    if head < 0x80:
        return at + 2
    if head < 0xC0:  # a text of up to 63 bytes, whose length behind takes one byte
        return at + 2 + (head & 0x3F)
    size = _content_size(pack, at)
    return at + size + _length_behind_size(size)


def previous_entry(pack: bytes, at: int) -> int:
    """Return the position of the entry before the one at `at`, which must not be the first."""
    size = shift = 0
    while True:
        at -= 1
        byte = pack[at]
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            return at - size
        shift += 7


def text_at(pack: bytes, at: int) -> bytes:
    """Return the text of the entry at `at`."""
    head = pack[at]
    if head < 0x80:
        return b"%d" % head
    if head < 0xC0:
        return pack[at + 1 : at + 1 + (head & 0x3F)]
    if 0xE0 <= head < 0xF0:
        return pack[at + 2 : at + 2 + ((head & 0x0F) << 8 | pack[at + 1])]
    if head == 0xF0:
        size = int.from_bytes(pack[at + 1 : at + 5], "little")
        return pack[at + 5 : at + 5 + size]
    return b"%d" % _integer_at(pack, at)


def integer_at(pack: bytes, at: int) -> int:
    """Return the integer at `at`, which must be stored as one (`is_integer_at`)."""
    head = pack[at]
    return head if head < 0x80 else _integer_at(pack, at)


def is_integer_at(pack: bytes, at: int) -> bool:
    """Say whether the entry at `at` is stored as an integer."""
    head = pack[at]
    return head < 0x80 or 0xC0 <= head < 0xE0 or 0xF1 <= head <= 0xF4


def texts(pack: bytes) -> list[bytes]:
    """Return all texts in their order."""
    return texts_from(pack, FIRST, len(pack))


def texts_from(pack: bytes, at: int, count: int) -> list[bytes]:
    """Return up to `count` texts from the position `at` on."""
    found: list[bytes] = []
    past = len(pack) - 1
    while at < past and count > 0:
        head = pack[at]
        if 0x80 <= head < 0xC0:  # a short text, as nearly all are
            end = at + 1 + (head & 0x3F)
            found.append(pack[at + 1 : end])
            at = end + 1
        else:
            found.append(text_at(pack, at))
            at = next_entry(pack, at)
        count -= 1
    return found


def find(pack: bytes, text: bytes, step: int) -> int:
    """Return the position of the first entry that is `text`, looking at every `step`-th one; else -1."""
    return find_entry(pack, encode(text), step)


def find_entry(pack: bytes, entry: bytes, step: int) -> int:
    """Return the position of the first encoded `entry`, looking at every `step`-th one; else -1.

    The search for the entry's bytes runs in C and finds nothing at all in the common case of a new member;
    what it finds counts only where an entry begins, which the walk establishes.
    """
    if len(pack) < FIRST + 1 + len(entry):
        return -1
    candidate = pack.find(entry, FIRST)
    if candidate < 0:
        return -1
    at = FIRST
    past = len(pack) - 1
    while at < past:
        if at == candidate:
            return at
        for _ in range(step):
            if at < past:
                at = next_entry(pack, at)
        if at > candidate:
            candidate = pack.find(entry, at)
            if candidate < 0:
                return -1
    return -1


def at_index(pack: bytes, index: int) -> int:
    """Return the position of the entry with this index (0: the first), which must exist."""
    at = FIRST
    for _ in range(index):
        at = next_entry(pack, at)
    return at


def is_sound(pack: bytes) -> bool:
    """Say whether a pack from outside is what it claims to be: sizes, entries, count and end."""
    size = len(pack)
    if size < FIRST + 1 or int.from_bytes(pack[:4], "little") != size or pack[-1] != END:
        return False
    at = FIRST
    past = size - 1
    count = 0
    while at < past:
        following = _sound_entry_end(pack, at, past)
        if following < 0:
            return False
        at = following
        count += 1
    claimed = pack[4] | pack[5] << 8
    return at == past and claimed in (count, COUNT_UNKNOWN)


def is_framed(pack: bytes) -> bool:
    """Say whether size, count and end of a pack from outside are right; what lies between is believed."""
    size = len(pack)
    if size < FIRST + 1 or pack[-1] != END or (pack[4] & pack[5]) == END:
        return False  # a pack that does not say its count has to be walked through anyway
    return int.from_bytes(pack[:4], "little") == size


def _sound_entry_end(pack: bytes, at: int, past: int) -> int:
    """Return the position behind an entry that lies before `past` and is well formed; else -1."""
    head = pack[at]
    if head > 0xF4 or at + _head_size(head) > past:
        return -1
    size = _content_size(pack, at)
    end = at + size + _length_behind_size(size)
    if end > past or pack[at + size : end] != _length_behind(size):
        return -1
    return end


def _head_size(head: int) -> int:
    """Return how many bytes must be there before the content's size is known."""
    if 0xE0 <= head < 0xF0:
        return 2
    return 5 if head == 0xF0 else 1


def _content_size(pack: bytes, at: int) -> int:
    """Return the bytes of an entry without the length behind it."""
    head = pack[at]
    if head < 0x80:
        return 1
    if head < 0xC0:
        return 1 + (head & 0x3F)
    if head < 0xE0:
        return 2
    if head < 0xF0:
        return 2 + ((head & 0x0F) << 8 | pack[at + 1])
    if head == 0xF0:
        return 5 + int.from_bytes(pack[at + 1 : at + 5], "little")
    return 9 if head == 0xF4 else head - 0xF1 + 3


def _integer_at(pack: bytes, at: int) -> int:
    head = pack[at]
    if head < 0xE0:
        bits = (head & 0x1F) << 8 | pack[at + 1]
        return bits if bits < 4096 else bits - 8192
    size = _content_size(pack, at) - 1
    return int.from_bytes(pack[at + 1 : at + 1 + size], "little", signed=True)


def _length_behind(size: int) -> bytes:
    """Encode the length that follows an entry's content: seven bits a byte, the highest first."""
    if size < 128:
        return bytes([size])
    places = _length_behind_size(size)
    marked = [size >> 7 * place & 0x7F | 0x80 for place in range(places - 2, -1, -1)]
    return bytes([size >> 7 * (places - 1), *marked])


def _length_behind_size(size: int) -> int:
    if size < 128:
        return 1
    if size < 16383:
        return 2
    if size < 2097151:
        return 3
    return 4 if size < 268435455 else 5
