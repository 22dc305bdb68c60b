"""HyperLogLog commands: PFADD, PFCOUNT, PFMERGE, and PFDEBUG, PFSELFTEST for those who look inside.

A HyperLogLog is a string; once added to, it is one that is changed in place. PFCOUNT of one key keeps its
result in the string, as Redis does, so that the next one is free; that is no change of what the key means,
and replicas, who can count for themselves, are not told.

Source: the Redis command reference, group "hyperloglog", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.declare import (
    ACCESS,
    ADMIN,
    DENYOOM,
    FAST,
    HYPERLOGLOG,
    INSERT,
    READONLY,
    RO,
    RW,
    WRITE,
    KeySpec,
    command,
)
from redoubt.commands.reading import read_text, writable_text
from redoubt.data import hyperloglog as hll
from redoubt.data.text import INTEGER_MAX, GrowableText, Text, text_bytes
from redoubt.keyspace_events import EVENT_STRING
from redoubt.resp.replies import OK, CommandError, ErrorReply, Reply, SimpleString

if TYPE_CHECKING:
    from redoubt.session import Session

_NOT_ONE: Final = b"WRONGTYPE Key is not a valid HyperLogLog string value."
_CORRUPT: Final = b"INVALIDOBJ Corrupted HLL object detected"
# PFSELFTEST: few enough for nobody to wait.
_TESTED_ELEMENTS: Final = 1000
# Five standard errors of 0.81 %.
_TESTED_ERROR: Final = 0.0405


def _checked(value: Text) -> bytes:
    """Return the string if it is a HyperLogLog; raises CommandError."""
    text = text_bytes(value)
    if not hll.is_hyperloglog(text):
        raise CommandError(_NOT_ONE)
    return text


def _registers(text: bytes) -> bytes:
    try:
        return hll.registers_of(text)
    except hll.InvalidHyperLogLog:
        raise CommandError(_CORRUPT) from None


def _growable(ctx: Session, key: bytes, value: Text, text: bytes) -> GrowableText:
    """Return the value as one that can be changed in place; nothing is propagated for that."""
    if isinstance(value, GrowableText):
        return value
    changes = ctx.db.changes
    grown = GrowableText(text)
    ctx.db.store(key, grown)
    ctx.db.changes = changes
    return grown


@command("PFADD", "key [element [element ...]]", group=HYPERLOGLOG, flags=WRITE | DENYOOM | FAST,
         use=RW | INSERT, since="2.8.9", complexity="O(1) for each element",
         summary="Add elements to a HyperLogLog, making it if there is none.")  # fmt: skip
def pfadd(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    value = writable_text(ctx, key)
    limit = ctx.state.config.hll_sparse_max_bytes
    if value is None:
        made = GrowableText(hll.empty())
        made.buffer[hll.OUTDATED_AT] |= hll.OUTDATED
        for element in argv[2:]:
            hll.add(made.buffer, element, limit)
        ctx.db.store(key, made)
        ctx.notify(EVENT_STRING, b"pfadd", key)
        return 1
    text = _checked(value)
    growable = _growable(ctx, key, value, text)
    size_before = ctx.db.begin_change(key)
    changed = 0
    try:
        for element in argv[2:]:
            changed |= hll.add(growable.buffer, element, limit)
    except hll.InvalidHyperLogLog:
        growable.buffer[:] = text  # what was added before the fault was found is not kept
        raise CommandError(_CORRUPT) from None
    if changed:
        ctx.db.end_change(growable, size_before)
        ctx.notify(EVENT_STRING, b"pfadd", key)
    return changed


@command("PFCOUNT", "key [key ...]", group=HYPERLOGLOG, flags=READONLY, use=RW | ACCESS, since="2.8.9",
         complexity="O(1) for one key, O(N) for N keys",
         summary="Return about how many different elements were added to HyperLogLogs.")  # fmt: skip
def pfcount(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 2:
        return _reply(hll.estimate(_union(ctx, argv[1:])[0]))
    key = argv[1]
    value = read_text(ctx, key)
    if value is None:
        return 0
    text = _checked(value)
    cardinality = hll.stored_cardinality(text)
    if cardinality < 0:
        cardinality = hll.estimate(_registers(text))
        growable = _growable(ctx, key, value, text)
        size_before = ctx.db.begin_change(key)
        hll.store_cardinality(growable.buffer, cardinality)
        ctx.db.end_change(growable, size_before)
    return _reply(cardinality)


def _reply(cardinality: int) -> int:
    """Return the number as the signed one that Redis sends."""
    return cardinality - (1 << 64) if cardinality > INTEGER_MAX else cardinality


def _union(ctx: Session, keys: list[bytes]) -> tuple[bytes, bool]:
    """Return the registers of all keys together, and whether any of them is dense."""
    registers = bytes(hll.REGISTERS)
    is_dense = False
    for key in keys:
        value = read_text(ctx, key)
        if value is not None:
            text = _checked(value)
            is_dense = is_dense or text[hll.FORM_AT] == hll.DENSE
            registers = hll.highest(registers, _registers(text))
    return registers, is_dense


@command("PFMERGE", "destkey:key [sourcekey:key [sourcekey:key ...]]", group=HYPERLOGLOG,
         flags=WRITE | DENYOOM, since="2.8.9", complexity="O(N) for N HyperLogLogs",
         key_specs=[KeySpec(RW | ACCESS | INSERT, index=1), KeySpec(RO | ACCESS, index=2, last=-1)],
         summary="Add what is in HyperLogLogs to another, making it if there is none.")  # fmt: skip
def pfmerge(ctx: Session, argv: list[bytes]) -> Reply:
    registers, is_dense = _union(ctx, argv[1:])
    key = argv[1]
    value = writable_text(ctx, key)
    # The target is changed register by register, so that its operations become those that Redis makes.
    merged = bytearray(hll.empty() if value is None else text_bytes(value))
    if is_dense:
        hll.make_dense(merged)
        merged[hll.HEADER_BYTES :] = hll.pack(registers)
    else:
        hll.raise_registers(merged, registers, ctx.state.config.hll_sparse_max_bytes)
    merged[hll.OUTDATED_AT] |= hll.OUTDATED
    ctx.db.store(key, GrowableText(bytes(merged)))
    ctx.notify(EVENT_STRING, b"pfadd", key)
    return OK


@command("PFDEBUG", "subcommand key", group=HYPERLOGLOG, flags=WRITE | DENYOOM | ADMIN, use=RW | ACCESS,
         since="2.8.9", complexity="O(N) for N registers",
         summary="Look into a HyperLogLog: ENCODING, DECODE, GETREG, TODENSE.")  # fmt: skip
def pfdebug(ctx: Session, argv: list[bytes]) -> Reply:
    word, key = argv[1].upper(), argv[2]
    value = writable_text(ctx, key)
    if value is None:
        raise CommandError(b"ERR The specified key does not exist")
    text = _checked(value)
    is_sparse = text[hll.FORM_AT] == hll.SPARSE
    if word == b"ENCODING":
        return SimpleString(b"sparse" if is_sparse else b"dense")
    if word == b"DECODE":
        return _decoded(text) if is_sparse else ErrorReply(b"ERR HLL encoding is not sparse")
    if word not in (b"GETREG", b"TODENSE"):
        raise CommandError(b"ERR Unknown PFDEBUG subcommand '%s'" % argv[1])
    registers = _registers(text)
    if is_sparse:
        dense = bytearray(text)
        hll.make_dense(dense)
        ctx.db.store(key, GrowableText(bytes(dense)))
    return list(registers) if word == b"GETREG" else int(is_sparse)


def _decoded(text: bytes) -> bytes:
    """Write the operations down as z:run, Z:run and v:number,run."""
    words: list[bytes] = []
    try:
        for number, run, is_long in hll.operations(text):
            if number:
                words.append(b"v:%d,%d" % (number, run))
            else:
                words.append(b"%c:%d" % (b"Z" if is_long else b"z", run))
    except hll.InvalidHyperLogLog:
        raise CommandError(_CORRUPT) from None
    return b" ".join(words)


@command("PFSELFTEST", group=HYPERLOGLOG, flags=ADMIN, since="2.8.9", complexity="O(1)",
         summary="Check that both forms of a HyperLogLog agree and that estimates are near.")  # fmt: skip
def pfselftest(ctx: Session, argv: list[bytes]) -> Reply:
    random = ctx.db.random
    registers = bytes([random.randrange(hll.REGISTER_MAX + 1) for _ in range(hll.REGISTERS)])
    if hll.unpack(hll.pack(registers)) != registers:
        return ErrorReply(b"ERR TESTFAILED The dense form does not keep the registers")
    sparse = bytearray(hll.empty())
    dense = bytearray(hll.empty())
    hll.make_dense(dense)
    salt = b"%d:" % random.getrandbits(64)
    for number in range(_TESTED_ELEMENTS):
        element = salt + b"%d" % number
        hll.add(dense, element, 0)
        hll.add(sparse, element, hll.DENSE_BYTES)
        if number & number + 1 == 0 and hll.registers_of(bytes(sparse)) != hll.registers_of(bytes(dense)):
            return ErrorReply(b"ERR TESTFAILED The two forms differ after %d elements" % (number + 1))
    found = hll.estimate(hll.registers_of(bytes(dense)))
    if abs(found - _TESTED_ELEMENTS) > _TESTED_ERROR * _TESTED_ELEMENTS:
        return ErrorReply(b"ERR TESTFAILED %d elements are estimated as %d" % (_TESTED_ELEMENTS, found))
    return OK
