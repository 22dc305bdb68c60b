"""OBJECT: what the server knows of a key beside its value.

Idle times are those of the bucket in which a key lies, since no key carries a clock of its own: a key may
have been idle for longer than reported, never for a shorter time. Reference counts do not exist here; every
value is its key's own.

Source: the Redis command reference, OBJECT; encodings as Redis names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.declare import GENERIC, READONLY, RO, command, container
from redoubt.data.frequency import decayed_counter, initial_frequency
from redoubt.data.keyspace import ACCESS_FREQUENT
from redoubt.data.text import encoding_name
from redoubt.resp.replies import ErrorReply, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

_SWITCHING: Final = (
    b" Please note that when switching between policies at runtime LRU and LFU data will take some time to"
    b" adjust."
)
NOT_LFU: Final = ErrorReply(
    b"ERR An LFU maxmemory policy is not selected, access frequency not tracked." + _SWITCHING
)
NOT_LRU: Final = ErrorReply(b"ERR An LFU maxmemory policy is selected, idle time not tracked." + _SWITCHING)

container("OBJECT", group=GENERIC, since="2.2.3", summary="Inspect how a key is stored.")


@command("OBJECT ENCODING", "key", group=GENERIC, flags=READONLY, use=RO, since="2.2.3", complexity="O(1)",
         summary="Return the name of the value's representation.",
         tips=("nondeterministic_output",))  # fmt: skip
def object_encoding(ctx: Session, argv: list[bytes]) -> Reply:
    value = ctx.db.peek(argv[2], ctx.now_ms)
    return None if value is None else encoding_name(value)


@command("OBJECT REFCOUNT", "key", group=GENERIC, flags=READONLY, use=RO, since="2.2.3", complexity="O(1)",
         summary="Return how many keys share the value, which is always 1.",
         tips=("nondeterministic_output",))  # fmt: skip
def object_refcount(ctx: Session, argv: list[bytes]) -> Reply:
    return None if ctx.db.peek(argv[2], ctx.now_ms) is None else 1


@command("OBJECT IDLETIME", "key", group=GENERIC, flags=READONLY, use=RO, since="2.2.3", complexity="O(1)",
         summary="Return for how many seconds the key and its neighbours have not been used.",
         tips=("nondeterministic_output",))  # fmt: skip
def object_idletime(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.db.peek(argv[2], ctx.now_ms) is None:
        return None
    if ctx.db.access == ACCESS_FREQUENT:
        return NOT_LRU
    bucket = ctx.db.bucket_of(argv[2])
    return 0 if bucket is None else max(0, ctx.now_ms - bucket.touched_ms) // 1000


@command("OBJECT FREQ", "key", group=GENERIC, flags=READONLY, use=RO, since="4.0.0", complexity="O(1)",
         summary="Return the logarithmic access counter of the key (LFU policies only).",
         tips=("nondeterministic_output",))  # fmt: skip
def object_freq(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.db.peek(argv[2], ctx.now_ms) is None:
        return None
    if ctx.db.access != ACCESS_FREQUENT:
        return NOT_LFU
    bucket = ctx.db.bucket_of(argv[2])
    assert bucket is not None
    packed = bucket.frequencies.get(argv[2], initial_frequency(ctx.now_ms))
    return decayed_counter(packed, ctx.now_ms, ctx.db.lfu_decay_minutes)
