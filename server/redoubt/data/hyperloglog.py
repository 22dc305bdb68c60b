"""HyperLogLog: how many different elements were added, in at most 12 KiB, in Redis's own bytes.

An element is hashed to 64 bits. The lowest 14 choose one of 16384 registers; the register keeps the longest
run of zeros (plus one) that the other bits ever began with. From how many registers hold which number the
cardinality is estimated, with a standard error of 0.81 %.

A string holds it all: `HYLL`, a byte for the form, three unused, and the last estimate in 8 bytes (little
endian; the highest bit says that it is out of date). The dense form packs a register into 6 bits, lowest
first. The sparse one is a row of operations: 00nnnnnn are n+1 registers of zero, 01nnnnnn nnnnnnnn more of
them, 1vvvvvnn are n+1 registers of v+1. It becomes dense when a number is above 32 or the string would
exceed hll-sparse-max-bytes. Each addition leaves exactly the bytes that Redis would leave, so that files and
payloads are interchangeable.

Called by the HyperLogLog commands. Source: Redis `src/hyperloglog.c`; O. Ertl, "New cardinality estimation
algorithms for HyperLogLog sketches", arXiv:1702.01284; MurmurHash64A by A. Appleby.
"""

from __future__ import annotations

from math import inf, pow, sqrt
from struct import unpack_from
from typing import Final

INDEX_BITS: Final = 14
REGISTERS: Final = 1 << INDEX_BITS
RUN_MAX: Final = 64 - INDEX_BITS + 1
REGISTER_BITS: Final = 6
REGISTER_MAX: Final = (1 << REGISTER_BITS) - 1

MAGIC: Final = b"HYLL"
FORM_AT: Final = 4
CARDINALITY_AT: Final = 8
HEADER_BYTES: Final = 16
OUTDATED_AT: Final = 15
OUTDATED: Final = 0x80
DENSE: Final = 0
SPARSE: Final = 1
DENSE_BYTES: Final = HEADER_BYTES + REGISTERS * REGISTER_BITS // 8

# The sparse operations, by their highest bits, and what fits into one.
LONG_ZEROS: Final = 0x40
VALUE: Final = 0x80
ZEROS_MAX: Final = 64
VALUE_MAX: Final = 32
VALUE_RUN_MAX: Final = 4
# Redis: after a change, neighbours are joined within so many operations.
JOINED_MAX: Final = 5

_MULTIPLIER: Final = 0xC6A4A7935BD1E995
_SEED: Final = 0xADC83B19
_MASK: Final = (1 << 64) - 1
_ALPHA: Final = 0.721347520444481703680  # 1 / (2 ln 2)

# Four registers lie in three bytes: what each byte holds of which register.
_LOW_6: Final = bytes([byte & 63 for byte in range(256)])
_HIGH_2: Final = bytes([byte >> 6 for byte in range(256)])
_LOW_4_UP_2: Final = bytes([(byte & 15) << 2 for byte in range(256)])
_HIGH_4: Final = bytes([byte >> 4 for byte in range(256)])
_LOW_2_UP_4: Final = bytes([(byte & 3) << 4 for byte in range(256)])
_HIGH_6: Final = bytes([byte >> 2 for byte in range(256)])
_LOW_2_UP_6: Final = bytes([(byte & 3) << 6 for byte in range(256)])
_LOW_4_UP_4: Final = bytes([(byte & 15) << 4 for byte in range(256)])
_UP_2: Final = bytes([(byte << 2) & 255 for byte in range(256)])
# The registers that each operation of one byte stands for; those of two bytes have no entry.
_SHORT_RUNS: Final = [
    bytes(((operation >> 2 & 31) + 1,)) * ((operation & 3) + 1)
    if operation & VALUE
    else bytes((operation & 63) + 1 if not operation & LONG_ZEROS else 0)
    for operation in range(256)
]
_HIGH_BITS: Final = int.from_bytes(b"\x80" * REGISTERS, "little")


class InvalidHyperLogLog(Exception):
    """The operations of a sparse string do not make up 16384 registers."""


class Walk:
    """How far a walk over sparse operations has come: whoever changes registers in order goes on there."""

    def __init__(self) -> None:
        self.at = HEADER_BYTES
        # The first register of the operation there.
        self.first = 0


def empty() -> bytes:
    """Return a sparse string without elements; its estimate (0) is up to date."""
    zeros = REGISTERS - 1
    return MAGIC + bytes((SPARSE, *bytes(11), LONG_ZEROS | zeros >> 8, zeros & 255))


def is_hyperloglog(text: bytes) -> bool:
    """Say whether the header and the length are right; the operations are not looked at."""
    if len(text) < HEADER_BYTES or text[:FORM_AT] != MAGIC or text[FORM_AT] > SPARSE:
        return False
    return text[FORM_AT] == SPARSE or len(text) == DENSE_BYTES


# Hashing.


def murmur_hash(element: bytes) -> int:
    """Hash to 64 bits: MurmurHash64A, little endian."""
    length = len(element)
    state = _SEED ^ (length * _MULTIPLIER & _MASK)
    words = length >> 3
    for word in unpack_from(f"<{words}Q", element):
        mixed = word * _MULTIPLIER & _MASK
        mixed = (mixed ^ mixed >> 47) * _MULTIPLIER & _MASK
        state = (state ^ mixed) * _MULTIPLIER & _MASK
    if length & 7:
        state = (state ^ int.from_bytes(element[words * 8 :], "little")) * _MULTIPLIER & _MASK
    state = (state ^ state >> 47) * _MULTIPLIER & _MASK
    return state ^ state >> 47


def place_of(element: bytes) -> tuple[int, int]:
    """Return an element's register and the number that it puts there, if that is larger."""
    hashed = murmur_hash(element)
    # A one above the highest bit ends the longest run.
    rest = hashed >> INDEX_BITS | 1 << RUN_MAX - 1
    return hashed & REGISTERS - 1, (rest & -rest).bit_length()


# Changing a string in place.


def add(text: bytearray, element: bytes, sparse_bytes_max: int) -> bool:
    """Add an element; say whether a register changed. Raises InvalidHyperLogLog."""
    index, number = place_of(element)
    if text[FORM_AT] == DENSE:
        return _raise_dense(text, index, number)
    return _raise_sparse(text, index, number, sparse_bytes_max, Walk())


def raise_registers(text: bytearray, registers: bytes, sparse_bytes_max: int) -> None:
    """Let every register hold at least what it holds in `registers`. Raises InvalidHyperLogLog."""
    walk = Walk()
    for index, number in enumerate(registers):
        if number and text[FORM_AT] == SPARSE:
            _raise_sparse(text, index, number, sparse_bytes_max, walk)
        elif number:
            _raise_dense(text, index, number)


def _raise_dense(text: bytearray, index: int, number: int) -> bool:
    at = HEADER_BYTES + (index * REGISTER_BITS >> 3)
    shift = index * REGISTER_BITS & 7
    pair = int.from_bytes(text[at : at + 2], "little")
    if pair >> shift & REGISTER_MAX >= number:
        return False
    pair = pair & ~(REGISTER_MAX << shift) | number << shift
    text[at] = pair & 255
    if shift > 8 - REGISTER_BITS:
        text[at + 1] = pair >> 8
    text[OUTDATED_AT] |= OUTDATED
    return True


def _raise_sparse(text: bytearray, index: int, number: int, sparse_bytes_max: int, walk: Walk) -> bool:
    if number > VALUE_MAX:
        return _raise_promoted(text, index, number)
    past = len(text)
    at = walk.at
    first = walk.first
    # The operation before the one that is looked for, or the first; and the one before that, where a walk
    # goes on, since the one before may be joined with what stands for the next register.
    before = earlier = at
    before_first = earlier_first = first
    while True:
        if at >= past:
            raise InvalidHyperLogLog
        operation = text[at]
        size = 1
        if operation & VALUE:
            run = (operation & 3) + 1
        elif not operation & LONG_ZEROS:
            run = (operation & 63) + 1
        else:
            run = _run_at(text, at)
            size = 2
        if index < first + run:
            break
        earlier = before
        earlier_first = before_first
        before = at
        before_first = first
        at += size
        first += run
    walk.at = earlier
    walk.first = earlier_first
    old = (operation >> 2 & 31) + 1 if operation & VALUE else 0
    if old >= number:
        return False
    if run == 1 and size == 1:
        text[at] = _value_operation(number, 1)
    else:
        made = _run(old, index - first) + bytes((_value_operation(number, 1),))
        made += _run(old, first + run - 1 - index)
        if len(made) > size and past + len(made) - size > sparse_bytes_max:
            return _raise_promoted(text, index, number)
        text[at : at + size] = made
    _join_values(text, before)
    text[OUTDATED_AT] |= OUTDATED
    return True


def _run_at(text: bytearray, at: int) -> int:
    """Return how many registers the operation stands for."""
    operation = text[at]
    if operation & VALUE:
        return (operation & 3) + 1
    if not operation & LONG_ZEROS:
        return (operation & 63) + 1
    if at + 1 >= len(text):
        raise InvalidHyperLogLog
    return ((operation & 63) << 8 | text[at + 1]) + 1


def _size_at(text: bytearray, at: int) -> int:
    return 2 if text[at] & (VALUE | LONG_ZEROS) == LONG_ZEROS else 1


def _value_operation(number: int, run: int) -> int:
    return VALUE | number - 1 << 2 | run - 1


def _run(number: int, run: int) -> bytes:
    """Make the operation for the registers beside the one that changed; there may be none."""
    if run == 0:
        return b""
    if number:
        return bytes((_value_operation(number, run),))
    if run > ZEROS_MAX:
        return bytes((LONG_ZEROS | run - 1 >> 8, run - 1 & 255))
    return bytes((run - 1,))


def _join_values(text: bytearray, at: int) -> None:
    """Join equal neighbours from `at` on as far as Redis does: a change cannot spread further."""
    for _ in range(JOINED_MAX):
        if at >= len(text):
            return
        operation = text[at]
        if not operation & VALUE:
            at += _size_at(text, at)
            continue
        if at + 1 < len(text) and text[at + 1] & ~3 == operation & ~3:
            run = (operation & 3) + (text[at + 1] & 3) + 2
            if run <= VALUE_RUN_MAX:
                text[at : at + 2] = bytes((operation & ~3 | run - 1,))
                continue
        at += 1


def _raise_promoted(text: bytearray, index: int, number: int) -> bool:
    make_dense(text)
    return _raise_dense(text, index, number)


def make_dense(text: bytearray) -> None:
    """Change a sparse string into a dense one that says the same. Raises InvalidHyperLogLog."""
    if text[FORM_AT] == SPARSE:
        text[HEADER_BYTES:] = pack(registers_of(bytes(text)))
        text[FORM_AT] = DENSE


def store_cardinality(text: bytearray, cardinality: int) -> None:
    """Keep an estimate until the next addition."""
    text[CARDINALITY_AT:HEADER_BYTES] = (cardinality & _MASK).to_bytes(8, "little")


# Reading.


def stored_cardinality(text: bytes) -> int:
    """Return the estimate that is kept; -1: it is out of date."""
    if text[OUTDATED_AT] & OUTDATED:
        return -1
    return int.from_bytes(text[CARDINALITY_AT:HEADER_BYTES], "little")


def operations(text: bytes) -> list[tuple[int, int, bool]]:
    """List the operations of a sparse string: number, run, whether it is one of two bytes."""
    buffer = bytearray(text)
    found: list[tuple[int, int, bool]] = []
    at = HEADER_BYTES
    while at < len(buffer):
        number = (buffer[at] >> 2 & 31) + 1 if buffer[at] & VALUE else 0
        size = _size_at(buffer, at)
        found.append((number, _run_at(buffer, at), size == 2))
        at += size
    return found


def registers_of(text: bytes) -> bytes:
    """Return the registers, one byte each. Raises InvalidHyperLogLog."""
    if text[FORM_AT] == DENSE:
        return unpack(text[HEADER_BYTES:])
    pieces: list[bytes] = []
    at = HEADER_BYTES
    past = len(text)
    left = REGISTERS
    while at < past:
        operation = text[at]
        if operation & (VALUE | LONG_ZEROS) != LONG_ZEROS:
            piece = _SHORT_RUNS[operation]
            at += 1
        else:
            if at + 1 >= past:
                raise InvalidHyperLogLog
            piece = bytes(((operation & 63) << 8 | text[at + 1]) + 1)
            at += 2
        left -= len(piece)
        if left < 0:  # at once: a short string may stand for gigabytes
            raise InvalidHyperLogLog
        pieces.append(piece)
    if left:
        raise InvalidHyperLogLog
    return b"".join(pieces)


def unpack(packed: bytes) -> bytes:
    """Return the registers of the dense form, one byte each."""
    first, second, third = packed[0::3], packed[1::3], packed[2::3]
    registers = bytearray(REGISTERS)
    registers[0::4] = first.translate(_LOW_6)
    registers[1::4] = _either(first.translate(_HIGH_2), second.translate(_LOW_4_UP_2))
    registers[2::4] = _either(second.translate(_HIGH_4), third.translate(_LOW_2_UP_4))
    registers[3::4] = third.translate(_HIGH_6)
    return bytes(registers)


def pack(registers: bytes) -> bytes:
    """Write registers, one byte each, in the dense form."""
    first, second, third, fourth = registers[0::4], registers[1::4], registers[2::4], registers[3::4]
    packed = bytearray(DENSE_BYTES - HEADER_BYTES)
    packed[0::3] = _either(first, second.translate(_LOW_2_UP_6))
    packed[1::3] = _either(second.translate(_HIGH_6), third.translate(_LOW_4_UP_4))
    packed[2::3] = _either(third.translate(_HIGH_4), fourth.translate(_UP_2))
    return bytes(packed)


def _either(one: bytes, other: bytes) -> bytes:
    joined = int.from_bytes(one, "little") | int.from_bytes(other, "little")
    return joined.to_bytes(len(one), "little")


def highest(one: bytes, other: bytes) -> bytes:
    """Return the larger of each two registers: the union of two sets of elements.

    All registers are compared at once: a borrow cannot leave a byte whose highest bit is set before.
    """
    left = int.from_bytes(one, "little")
    right = int.from_bytes(other, "little")
    not_less = (left | _HIGH_BITS) - right & _HIGH_BITS
    chosen = not_less - (not_less >> 7)
    return (right ^ (left ^ right) & chosen).to_bytes(REGISTERS, "little")


# Estimating.


def estimate(registers: bytes) -> int:
    """Estimate the number of elements from the registers, one byte each."""
    histogram = [0] * (REGISTER_MAX + 1)
    left = REGISTERS
    for number in range(REGISTER_MAX + 1):
        if left == 0:
            break
        histogram[number] = registers.count(number)
        left -= histogram[number]
    total = REGISTERS * _tau((REGISTERS - histogram[RUN_MAX]) / REGISTERS)
    for number in range(RUN_MAX - 1, 0, -1):
        total = (total + histogram[number]) * 0.5
    total += REGISTERS * _sigma(histogram[0] / REGISTERS)
    if total == 0.0:  # every register is at its end: C rounds infinity to this
        return 1 << 63
    return int(_ALPHA * REGISTERS * REGISTERS / total + 0.5)


def _sigma(x: float) -> float:
    if x == 1.0:
        return inf
    y = 1.0
    z = x
    while True:
        x *= x
        before = z
        z += x * y
        y += y
        if before == z:
            return z


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y = 1.0
    z = 1.0 - x
    while True:
        x = sqrt(x)
        before = z
        y *= 0.5
        z -= pow(1.0 - x, 2.0) * y
        if before == z:
            return z / 3.0
