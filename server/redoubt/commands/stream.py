"""Commands that write streams: XADD, XDEL, XTRIM, XSETID; and XLEN.

What is propagated is a decision: XADD with the id that the entry got, and a trim that was approximate as the
exact one that it came to. A stream whose last entry is deleted stays, since its counters and groups count.

Source: the Redis command reference, group "stream", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import (
    DELETE,
    DENYOOM,
    FAST,
    READONLY,
    RO,
    RW,
    STREAM,
    UPDATE,
    WRITE,
    KeySpec,
    command,
)
from redoubt.commands.reading import NO_SUCH_KEY
from redoubt.commands.stream_arguments import read_stream, strict_id, writable_stream
from redoubt.data.stream import Stream
from redoubt.data.stream_id import (
    ID_MAX,
    SEQUENCE_BITS,
    SEQUENCE_MAX,
    milliseconds_of,
    parse_milliseconds,
    text_of,
)
from redoubt.data.stream_trim import Trim
from redoubt.keyspace_events import EVENT_STREAM
from redoubt.resp.replies import OK, CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

TOO_LOW: Final = b"ERR The ID specified in XADD is equal or smaller than the target stream top item"
EXHAUSTED: Final = b"ERR The stream has exhausted the last possible ID, unable to add more items"
TWO_STRATEGIES: Final = b"ERR syntax error, MAXLEN and MINID options at the same time are not compatible"
LIMIT_ALONE: Final = b"ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"
LIMIT_EXACT: Final = b"ERR syntax error, LIMIT cannot be used without the special ~ option"
# Redis: STREAM_LISTPACK_MAX_SIZE.
ENTRY_BYTES_MAX: Final = 1 << 30
# Redis: an approximate trim removes at most a hundred nodes, within these bounds.
TRIMMED_NODES_MAX: Final = 100
TRIMMED_DEFAULT: Final = 10_000
TRIMMED_MAX: Final = 1_000_000
NONDETERMINISTIC: Final = ("nondeterministic_output",)


class TrimOptions:
    """What XADD and XTRIM read before the id: how to trim, and whether to make a stream."""

    def __init__(self) -> None:
        self.trim: Trim | None = None
        self.limit = -1  # not given
        self.makes_stream = True

    def read_one(self, arguments: Arguments) -> bool:
        """Take one option of trimming; False if the next word is none."""
        for name in (b"MAXLEN", b"MINID"):
            if arguments.skip_with_value(name):
                self._read_strategy(arguments, name == b"MAXLEN")
                return True
        if arguments.skip_with_value(b"LIMIT"):
            self.limit = arguments.integer()
            if self.limit < 0:
                raise CommandError(b"ERR The LIMIT argument must be >= 0.")
            return True
        return False

    def _read_strategy(self, arguments: Arguments, is_by_length: bool) -> None:
        if self.trim is not None:
            raise CommandError(TWO_STRATEGIES)
        is_approximate = False
        if arguments.left() >= 2 and arguments.peek() in (b"~", b"="):
            is_approximate = arguments.word() == b"~"
        if is_by_length:
            threshold = arguments.integer()
            if threshold < 0:
                raise CommandError(b"ERR The MAXLEN argument must be >= 0.")
        else:
            threshold = strict_id(arguments.word())
        self.trim = Trim(is_by_length, threshold, is_approximate)

    def settle(self, ctx: Session) -> None:
        """Check what belongs together, and bound what an approximate trim may do."""
        trim = self.trim
        if trim is None:
            if self.limit >= 0:
                raise CommandError(LIMIT_ALONE if self.limit else LIMIT_EXACT)
            return
        if ctx.is_master_link:
            return  # the master has decided
        if self.limit >= 0:
            if not trim.is_approximate:
                raise CommandError(LIMIT_EXACT)
            trim.limit = self.limit
        elif trim.is_approximate:
            limit = TRIMMED_NODES_MAX * ctx.state.limits.stream_entries
            trim.limit = min(limit, TRIMMED_MAX) if limit > 0 else TRIMMED_DEFAULT


def exact_trim(trim: Trim, stream: Stream) -> list[bytes]:
    """Return the words of an exact trim that comes to what the stream is now."""
    if not trim.is_approximate:
        threshold = b"%d" % trim.threshold if trim.is_by_length else text_of(trim.threshold)
    elif trim.is_by_length:
        threshold = b"%d" % stream.length
    else:
        threshold = text_of(stream.first_id if stream.length else ID_MAX)
    return [b"MAXLEN" if trim.is_by_length else b"MINID", b"=", threshold]


@command("XADD", "key [NOMKSTREAM] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id>"
         " (field value)...",
         group=STREAM, flags=WRITE | DENYOOM | FAST, since="5.0.0", tips=NONDETERMINISTIC,
         key_specs=[KeySpec(RW | UPDATE, index=1)],
         complexity="O(1), and O(N) for N entries that are trimmed",
         summary="Add an entry to a stream, making it if there is none, and perhaps trim it.")  # fmt: skip
def xadd(ctx: Session, argv: list[bytes]) -> Reply:
    arguments = Arguments(argv, 2)
    options = TrimOptions()
    while arguments.has_more() and arguments.peek() != b"*" and not _is_entry_id(arguments, options):
        pass
    word = arguments.word() if arguments.has_more() else b"*"
    given = _read_id(word)
    options.settle(ctx)
    items = arguments.rest()
    if len(items) < 2 or len(items) % 2:
        raise CommandError(b"ERR wrong number of arguments for 'xadd' command")
    if given == 0 and not word.endswith(b"*"):
        raise CommandError(b"ERR The ID specified in XADD must be greater than 0-0")
    found = writable_stream(ctx, argv[1])
    if found is None and not options.makes_stream:
        return None
    stream = Stream() if found is None else found
    entry_id = _chosen_id(ctx, stream, word, given)
    if sum([len(text) for text in items]) > ENTRY_BYTES_MAX:
        raise CommandError(b"ERR Elements are too large to be stored")
    size_before = 0 if found is None else ctx.db.begin_change(argv[1])
    stream.append(entry_id, items, ctx.state.limits)
    trim = options.trim
    removed = 0 if trim is None else trim.apply(stream)
    if found is None:
        ctx.db.set(argv[1], stream)
    else:
        ctx.db.end_change(stream, size_before)
    ctx.notify(EVENT_STREAM, b"xadd", argv[1])
    if removed:
        ctx.notify(EVENT_STREAM, b"xtrim", argv[1])
    if word.endswith(b"*") or (trim is not None and trim.is_approximate):
        trimming = [] if trim is None else exact_trim(trim, stream)
        ctx.rewrite([b"XADD", argv[1], *trimming, text_of(entry_id), *items])
    return text_of(entry_id)


def _is_entry_id(arguments: Arguments, options: TrimOptions) -> bool:
    """Take an option of XADD; True if the next word is none, and so the id."""
    if arguments.skip(b"NOMKSTREAM"):
        options.makes_stream = False
        return False
    return not options.read_one(arguments)


def _read_id(word: bytes) -> int:
    """Read the id of an entry to be added; of `ms-*` only the first part, of `*` nothing (0)."""
    if word == b"*":
        return 0
    milliseconds = parse_milliseconds(word)
    return strict_id(word) if milliseconds is None else milliseconds


def _chosen_id(ctx: Session, stream: Stream, word: bytes, given: int) -> int:
    """Return the id that the new entry gets."""
    if stream.last_id == ID_MAX:
        raise CommandError(EXHAUSTED)
    entry_id = given
    if word == b"*":
        entry_id = stream.next_id(ctx.state.now_ms)
    elif word.endswith(b"*"):
        entry_id = given << SEQUENCE_BITS
        if milliseconds_of(stream.last_id) == given:
            if stream.last_id & SEQUENCE_MAX == SEQUENCE_MAX:
                raise CommandError(TOO_LOW)
            entry_id = stream.last_id + 1
    if entry_id <= stream.last_id:
        raise CommandError(TOO_LOW)
    return entry_id


@command("XTRIM", "key <MAXLEN | MINID> [= | ~] threshold [LIMIT count]", group=STREAM, flags=WRITE,
         use=RW | DELETE, since="5.0.0", tips=NONDETERMINISTIC, complexity="O(N) for N entries that go",
         summary="Remove entries from the start of a stream.")  # fmt: skip
def xtrim(ctx: Session, argv: list[bytes]) -> Reply:
    arguments = Arguments(argv, 2)
    options = TrimOptions()
    while arguments.has_more():
        if not options.read_one(arguments):
            raise arguments.syntax_error()
    trim = options.trim
    if trim is None:
        if options.limit > 0:
            raise CommandError(LIMIT_ALONE)
        raise CommandError(b"ERR syntax error, XTRIM must be called with a trimming strategy")
    options.settle(ctx)
    stream = writable_stream(ctx, argv[1])
    if stream is None:
        return 0
    size_before = ctx.db.begin_change(argv[1])
    removed = trim.apply(stream)
    if removed or stream.size_bytes() != size_before:  # nodes without live entries may have gone
        ctx.db.end_change(stream, size_before)
    if not removed:
        return 0
    ctx.notify(EVENT_STREAM, b"xtrim", argv[1])
    if trim.is_approximate:
        ctx.rewrite([b"XTRIM", argv[1], *exact_trim(trim, stream)])
    return removed


@command("XDEL", "key id [id ...]", group=STREAM, flags=WRITE | FAST, use=RW | DELETE, since="5.0.0",
         complexity="O(N) for N ids", summary="Delete entries of a stream.")  # fmt: skip
def xdel(ctx: Session, argv: list[bytes]) -> Reply:
    stream = writable_stream(ctx, argv[1])
    if stream is None:
        return 0
    ids = [strict_id(word) for word in argv[2:]]
    doomed = [entry_id for entry_id in ids if stream.has(entry_id)]
    if not doomed:
        return 0
    size_before = ctx.db.begin_change(argv[1])
    deleted = 0
    for entry_id in doomed:
        if stream.delete(entry_id):
            deleted += 1
    ctx.db.end_change(stream, size_before)
    ctx.notify(EVENT_STREAM, b"xdel", argv[1])
    return deleted


@command("XLEN", "key", group=STREAM, flags=READONLY | FAST, use=RO, since="5.0.0", complexity="O(1)",
         summary="Return the number of entries of a stream.")  # fmt: skip
def xlen(ctx: Session, argv: list[bytes]) -> Reply:
    stream = read_stream(ctx, argv[1])
    return 0 if stream is None else stream.length


@command("XSETID", "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]", group=STREAM,
         flags=WRITE | DENYOOM | FAST, use=RW | UPDATE, since="5.0.0", complexity="O(1)",
         summary="Set the counters of a stream.")  # fmt: skip
def xsetid(ctx: Session, argv: list[bytes]) -> Reply:
    last_id = strict_id(argv[2])
    entries_added = -1
    max_deleted_id = 0
    arguments = Arguments(argv, 3)
    while arguments.has_more():
        if arguments.skip_with_value(b"ENTRIESADDED"):
            entries_added = arguments.integer()
            if entries_added < 0:
                raise CommandError(b"ERR entries_added must be positive")
        elif arguments.skip_with_value(b"MAXDELETEDID"):
            max_deleted_id = strict_id(arguments.word())
            if last_id < max_deleted_id:
                raise CommandError(
                    b"ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id"
                )
        else:
            raise arguments.syntax_error()
    stream = writable_stream(ctx, argv[1])
    if stream is None:
        raise CommandError(NO_SUCH_KEY)
    _check_counters(stream, last_id, entries_added)
    size_before = ctx.db.begin_change(argv[1])
    stream.last_id = last_id
    if entries_added >= 0:
        stream.entries_added = entries_added
    if max_deleted_id:
        stream.max_deleted_id = max_deleted_id
    ctx.db.end_quietly(stream, size_before, True)
    ctx.notify(EVENT_STREAM, b"xsetid", argv[1])
    return OK


def _check_counters(stream: Stream, last_id: int, entries_added: int) -> None:
    """Refuse counters that the entries of the stream contradict."""
    if last_id < stream.max_deleted_id:
        raise CommandError(b"ERR The ID specified in XSETID is smaller than current max_deleted_entry_id")
    if stream.length == 0:
        return
    if last_id < stream.last_valid_id():
        raise CommandError(b"ERR The ID specified in XSETID is smaller than the target stream top item")
    if 0 <= entries_added < stream.length:
        raise CommandError(
            b"ERR The entries_added specified in XSETID is smaller than the target stream length"
        )
