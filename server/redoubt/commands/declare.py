"""One declaration per command: the decorator, the rows of the command table, and how a row is found.

    @command("GET", "key", group=STRING, flags=READONLY | FAST, use=RO | ACCESS, since="1.0.0",
             complexity="O(1)", summary="Return the string value of a key.")
    def get(ctx: Session, argv: list[bytes]) -> Reply: ...

The usage line is parsed once at import (`redoubt.commands.usage`); arity, key positions, ACL categories, the
gates a command stops for, COMMAND's replies and the documentation page all come from this one place. The
decorator returns the function unchanged. `TABLE` holds each name in both letter cases, so that the
dispatcher needs one dictionary access for the common spellings; `find` serves mixed case, subcommands
("CONFIG GET" is a name of two words), and answers unknown names with Redis's texts.

Called by every command module at import and by the dispatcher for each command. It runs and checks nothing.
Source of the rules: https://redis.io/docs/latest/commands/command/ and its pages on command tips and ACLs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from redoubt import session as gate
from redoubt.commands import keyspecs, usage
from redoubt.commands.keyspecs import (
    ACCESS,
    DELETE,
    INCOMPLETE,
    INSERT,
    NOT_KEY,
    OW,
    RM,
    RO,
    RW,
    UPDATE,
    VARIABLE_FLAGS,
    KeySpec,
)
from redoubt.resp.replies import CommandError, ErrorReply, Reply, SimpleString

if TYPE_CHECKING:
    from redoubt.session import Session

# What the modules that declare commands import from here.
__all__ = [
    "ACCESS",
    "ADMIN",
    "ALLOW_BUSY",
    "ARGC_UNLIMITED",
    "ASKING",
    "BITMAP",
    "BLOCKING",
    "CATEGORIES",
    "CLUSTER",
    "CONNECTION",
    "CONTAINERS",
    "DELETE",
    "DENYOOM",
    "FAST",
    "FLAG_NAMES",
    "GENERIC",
    "GEO",
    "HASH",
    "HYPERLOGLOG",
    "INCOMPLETE",
    "INSERT",
    "LIST",
    "LOADING",
    "MAY_REPLICATE",
    "MODULE",
    "MOVABLE_KEYS",
    "NEEDS_ROLE",
    "NOSCRIPT",
    "NOT_KEY",
    "NO_ASYNC_LOADING",
    "NO_AUTH",
    "NO_MANDATORY_KEYS",
    "NO_MULTI",
    "OW",
    "PUBSUB",
    "PUBSUB_GROUP",
    "READONLY",
    "RM",
    "RO",
    "ROWS",
    "RW",
    "SCRIPTING",
    "SERVER",
    "SET",
    "SKIP_MONITOR",
    "SKIP_SLOWLOG",
    "SORTED_SET",
    "STALE",
    "STOPS_ON_DISK_ERROR",
    "STREAM",
    "STRING",
    "SUBSCRIBED",
    "TABLE",
    "TOUCHES_ARBITRARY_KEYS",
    "TRANSACTIONS",
    "UNQUEUED",
    "UPDATE",
    "VARIABLE_FLAGS",
    "WRITE",
    "Container",
    "Documentation",
    "Handler",
    "KeySpec",
    "Row",
    "all_rows",
    "command",
    "container",
    "find",
    "keys_of",
    "make_container",
    "wrong_arity",
    "wrong_words",
]

# Command flags. The first block has Redis's names in COMMAND INFO (FLAG_NAMES), in Redis's order.
WRITE: Final = 1 << 0
READONLY: Final = 1 << 1
DENYOOM: Final = 1 << 2
MODULE: Final = 1 << 3
ADMIN: Final = 1 << 4
PUBSUB: Final = 1 << 5
NOSCRIPT: Final = 1 << 6
BLOCKING: Final = 1 << 7
LOADING: Final = 1 << 8
STALE: Final = 1 << 9
SKIP_MONITOR: Final = 1 << 10
SKIP_SLOWLOG: Final = 1 << 11
ASKING: Final = 1 << 12
FAST: Final = 1 << 13
NO_AUTH: Final = 1 << 14
MAY_REPLICATE: Final = 1 << 15
NO_ASYNC_LOADING: Final = 1 << 16
NO_MULTI: Final = 1 << 17
MOVABLE_KEYS: Final = 1 << 18
ALLOW_BUSY: Final = 1 << 19
NO_MANDATORY_KEYS: Final = 1 << 20
TOUCHES_ARBITRARY_KEYS: Final = 1 << 21
# Our own flags, which COMMAND INFO does not show.
NEEDS_ROLE: Final = 1 << 24  # refused while a managed node awaits its role, though it touches no data
UNQUEUED: Final = 1 << 25  # runs at once inside MULTI: EXEC, DISCARD, MULTI, WATCH, QUIT, RESET
SUBSCRIBED: Final = 1 << 26  # allowed to a RESP2 client in subscriber mode
STOPS_ON_DISK_ERROR: Final = 1 << 27  # refused with the writes when a save failed, so that PING shows it

FLAG_NAMES: Final = {
    WRITE: "write", READONLY: "readonly", DENYOOM: "denyoom", MODULE: "module", ADMIN: "admin",
    PUBSUB: "pubsub", NOSCRIPT: "noscript", BLOCKING: "blocking", LOADING: "loading", STALE: "stale",
    SKIP_MONITOR: "skip_monitor", SKIP_SLOWLOG: "skip_slowlog", ASKING: "asking", FAST: "fast",
    NO_AUTH: "no_auth", NO_ASYNC_LOADING: "no_async_loading",
    NO_MULTI: "no_multi", MOVABLE_KEYS: "movablekeys", ALLOW_BUSY: "allow_busy",
    NO_MANDATORY_KEYS: "no_mandatory_keys", TOUCHES_ARBITRARY_KEYS: "touches_arbitrary_keys",
}  # fmt: skip

# Groups, as the documentation and COMMAND DOCS name them.
GENERIC: Final = "generic"
STRING: Final = "string"
LIST: Final = "list"
SET: Final = "set"
SORTED_SET: Final = "sorted-set"
HASH: Final = "hash"
PUBSUB_GROUP: Final = "pubsub"
TRANSACTIONS: Final = "transactions"
CONNECTION: Final = "connection"
SERVER: Final = "server"
SCRIPTING: Final = "scripting"
HYPERLOGLOG: Final = "hyperloglog"
CLUSTER: Final = "cluster"
GEO: Final = "geo"
STREAM: Final = "stream"
BITMAP: Final = "bitmap"

# The ACL category of each group's commands, unless a declaration says otherwise.
_CATEGORIES: Final = {
    GENERIC: "keyspace", STRING: "string", LIST: "list", SET: "set", SORTED_SET: "sortedset", HASH: "hash",
    TRANSACTIONS: "transaction", CONNECTION: "connection", SCRIPTING: "scripting",
    HYPERLOGLOG: "hyperloglog", GEO: "geo", STREAM: "stream", BITMAP: "bitmap",
}  # fmt: skip
# The order in which Redis lists the categories of a command.
CATEGORIES: Final = (
    "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo",
    "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction",
    "scripting",
)  # fmt: skip

ARGC_UNLIMITED: Final = 1 << 31
# Durations of 2 ** 20 us (a second) and more share the last place of a histogram.
DURATION_BITS_MAX: Final = 20
_ERROR_WORDS_MAX: Final = 128  # Redis quotes at most this much of what the client sent

Handler = Callable[["Session", list[bytes]], Reply]
KeyFinder = Callable[[list[bytes]], "list[bytes] | None"]
_Function = TypeVar("_Function", bound=Handler)


class Documentation:
    """What only people and COMMAND DOCS read of a declaration."""

    def __init__(self, line: str, group: str, since: str, complexity: str, summary: str) -> None:
        self.usage = line
        self.arguments = usage.parse(line)
        self.group = group
        self.since = since
        self.complexity = complexity
        self.summary = summary


class Row:
    """One command as the dispatcher sees it."""

    def __init__(self, name: str, flags: int, run: Handler, documentation: Documentation) -> None:
        self.name = name.lower().replace(" ", "|")
        self.run = run
        self.flags = flags
        self.gates = 0
        # Whether its work grows with the data, so that each call is timed (see redoubt.slow_commands).
        self.is_timed = False
        self.arity = 0
        self.argc_min = 0
        self.argc_max = ARGC_UNLIMITED
        # The legacy key positions of COMMAND INFO; first_key 0: no key at a fixed place. A command is simple
        # for the cluster if first_key == last_key and MOVABLE_KEYS is not set.
        self.first_key = 0
        self.last_key = 0
        self.step = 0
        self.key_specs: list[KeySpec] = []
        # Where the specifications do not tell the whole truth: what lists the keys of a call.
        self.find_keys: KeyFinder | None = None
        self.categories: list[str] = []
        self.tips: tuple[str, ...] = ()
        self.documentation = documentation
        # Statistics, as INFO commandstats has them. Durations are sampled by the dispatcher: `durations[n]`
        # counts those below 2 ** n microseconds and not below half of that; it is empty before the first.
        self.calls = 0
        self.usec = 0
        self.rejected_calls = 0
        self.failed_calls = 0
        self.durations: list[int] = []

    def add_duration(self, duration_us: int, calls: int) -> None:
        """Take a measured duration that stands for this many calls."""
        if not self.durations:
            self.durations = [0] * (DURATION_BITS_MAX + 1)
        self.durations[min(duration_us.bit_length(), DURATION_BITS_MAX)] += calls
        self.usec += duration_us * calls

    def reset_statistics(self) -> None:
        """Count from zero again (CONFIG RESETSTAT)."""
        self.calls = 0
        self.usec = 0
        self.rejected_calls = 0
        self.failed_calls = 0
        self.durations = []


class Container:
    """A command of subcommands, such as CONFIG; `row` describes it and runs it when it stands alone."""

    def __init__(self, row: Row, is_runnable: bool) -> None:
        self.row = row
        self.is_runnable = is_runnable
        self.subcommands: dict[bytes, Row] = {}  # by lower-case subcommand


ROWS: Final[dict[bytes, Row]] = {}  # every top-level command by lower-case name, containers included
TABLE: Final[dict[bytes, Row]] = {}  # what runs without a subcommand, in both letter cases
CONTAINERS: Final[dict[bytes, Container]] = {}  # by lower-case name


def all_rows() -> list[Row]:
    """List every row that can run, subcommands included."""
    rows = [row for key, row in ROWS.items() if key not in CONTAINERS or CONTAINERS[key].is_runnable]
    for parent in CONTAINERS.values():
        rows.extend(parent.subcommands.values())
    return rows


def command(
    name: str, line: str = "", *, group: str, flags: int = 0, use: int | tuple[int, ...] = 0, since: str,
    complexity: str, summary: str, arity: int = 0, categories: tuple[str, ...] | None = None,
    key_specs: list[KeySpec] | None = None, find_keys: KeyFinder | None = None, tips: tuple[str, ...] = (),
) -> Callable[[_Function], _Function]:  # fmt: skip
    """Register a handler under `name`, which has two words for a subcommand.

    line: the usage line without the name; use: what is done with the keys, one value or one for each key
    argument; arity, key_specs: only where Redis's differ from what the line says; find_keys: only where the
    specifications do not suffice; categories: instead of the group's own ACL category (read, write, fast,
    slow, admin, ... follow from the flags).
    """

    def register(function: _Function) -> _Function:
        row = Row(name, flags, function, Documentation(line, group, since, complexity, summary))
        words = 1 + name.count(" ")
        arguments = row.documentation.arguments
        row.key_specs = keyspecs.derive(arguments, words, use) if key_specs is None else key_specs
        if key_specs:
            keyspecs.number(arguments, 0)
        row.find_keys = find_keys
        row.tips = tips
        _complete(row, arity or usage.arity(arguments, words), categories)
        _insert(name, row)
        return function

    return register


def container(name: str, *, group: str, since: str, summary: str) -> None:
    """Declare a command that only has subcommands; its HELP subcommand is made from their declarations."""
    documentation = Documentation("", group, since, "Depends on subcommand.", summary)
    row = Row(name, 0, run_container, documentation)
    _complete(row, -2, ())
    row.categories = ["slow"]
    key = name.lower().encode()
    assert key not in CONTAINERS, f"container {name} is declared twice"
    ROWS[key] = row
    CONTAINERS[key] = Container(row, False)
    _declare_help(name, group, None)


def make_container(name: str, categories: tuple[str, ...]) -> None:
    """Let an already declared command have subcommands, too (COMMAND)."""
    row = ROWS[name.lower().encode()]
    CONTAINERS[name.lower().encode()] = Container(row, True)
    for key in (name.lower().encode(), name.upper().encode()):
        del TABLE[key]
    _declare_help(name, row.documentation.group, categories)


def _declare_help(name: str, group: str, categories: tuple[str, ...] | None) -> None:
    command(
        f"{name} HELP", group=group, flags=LOADING | STALE, since="5.0.0", complexity="O(1)",
        summary="Return what the subcommands are.", categories=categories,
    )(run_help)  # fmt: skip


def _insert(name: str, row: Row) -> None:
    key = name.lower().encode()
    parent, _, subcommand = key.partition(b" ")
    if subcommand:
        assert parent in CONTAINERS, f"{name}: declare container({parent.decode().upper()!r}) first"
        subcommands = CONTAINERS[parent].subcommands
        assert subcommand not in subcommands, f"{name} is declared twice"
        subcommands[subcommand] = row
        return
    assert key not in ROWS, f"{name} is declared twice"
    ROWS[key] = row
    TABLE[key] = TABLE[key.upper()] = row


def _complete(row: Row, arity: int, categories: tuple[str, ...] | None) -> None:
    """Fill in what follows from the flags, the arity and the key specifications."""
    row.arity = arity
    row.argc_min = abs(arity)
    row.argc_max = arity if arity > 0 else ARGC_UNLIMITED
    _set_legacy_range(row)
    row.gates = _gates(row)
    complexity = row.documentation.complexity
    row.is_timed = not row.flags & FAST and (not complexity.startswith("O(1)") or "O(N" in complexity)
    own = _CATEGORIES.get(row.documentation.group, "")
    chosen = set(categories if categories is not None else (own,) if own else ())
    row.categories = _with_implied(row.flags, chosen)


def _set_legacy_range(row: Row) -> None:
    """Sum the specifications up as first, last and step, as Redis does for old clients."""
    specs = row.key_specs
    if len(specs) == 1 and not specs[0].keyword and not specs[0].is_counted:
        only = specs[0]
        last = only.last if only.last < 0 else only.index + only.last
        row.first_key, row.last_key, row.step = only.index, last, only.step
        if only.use & INCOMPLETE:
            row.flags |= MOVABLE_KEYS
        return
    last_before = 0
    for spec in specs:
        is_plain = not spec.keyword and not spec.is_counted and spec.step == 1
        if not is_plain or (last_before and last_before != spec.index - 1):
            row.flags |= MOVABLE_KEYS
            continue
        if spec.use & INCOMPLETE:
            row.flags |= MOVABLE_KEYS
        last_before = spec.last if spec.last < 0 else spec.index + spec.last
        row.first_key = row.first_key or spec.index
        row.last_key = last_before if row.last_key >= 0 else row.last_key
        row.step = 1


def _gates(row: Row) -> int:
    """Collect the conditions that this command must stop for."""
    flags = row.flags
    gates = gate.GATE_PAUSED | gate.GATE_ASKING | gate.GATE_PUSHES
    gates |= gate.GATE_TRACKING | gate.GATE_NO_TOUCH
    if not flags & NO_AUTH:
        gates |= gate.GATE_AUTH | gate.GATE_ACL
    if not flags & UNQUEUED or row.name == "exec":
        gates |= gate.GATE_MULTI
    if row.key_specs or flags & MOVABLE_KEYS or row.name == "exec":
        gates |= gate.GATE_CLUSTER
    if flags & DENYOOM:
        gates |= gate.GATE_MEMORY
    if flags & WRITE:
        gates |= gate.GATE_REPLICA | gate.GATE_MIN_REPLICAS | gate.GATE_DISK | gate.GATE_HELD
    if flags & STOPS_ON_DISK_ERROR:
        gates |= gate.GATE_DISK
    if flags & MAY_REPLICATE and row.key_specs:
        gates |= gate.GATE_HELD  # EVAL and FCALL may write to their keys
    if not flags & ALLOW_BUSY:
        gates |= gate.GATE_BUSY
    if not flags & LOADING:
        gates |= gate.GATE_LOADING
    if flags & (WRITE | READONLY | NEEDS_ROLE):
        gates |= gate.GATE_AWAITING
    if not flags & SUBSCRIBED:
        gates |= gate.GATE_SUBSCRIBER
    if not flags & (SKIP_MONITOR | ADMIN):
        gates |= gate.MONITORED
    if not flags & STALE:
        gates |= gate.GATE_STALE
    return gates


def _with_implied(flags: int, chosen: set[str]) -> list[str]:
    """Add the categories that Redis derives from flags, in its order."""
    if flags & WRITE:
        chosen.add("write")
    if flags & READONLY and "scripting" not in chosen:
        chosen.add("read")
    if flags & ADMIN:
        chosen |= {"admin", "dangerous"}
    if flags & PUBSUB:
        chosen.add("pubsub")
    if flags & BLOCKING:
        chosen.add("blocking")
    chosen.add("fast" if flags & FAST else "slow")
    return [category for category in CATEGORIES if category in chosen]


def find(argv: list[bytes]) -> Row | ErrorReply:
    """Find the row of a call that `TABLE` does not have: mixed case, a subcommand, or an unknown name."""
    key = argv[0].lower()
    parent = CONTAINERS.get(key)
    if parent is None:
        return ROWS.get(key) or _unknown(argv)
    if len(argv) == 1:
        return parent.row if parent.is_runnable else wrong_arity(parent.row)
    return parent.subcommands.get(argv[1].lower()) or _unknown_subcommand(parent.row.name, argv[1])


def wrong_arity(row: Row) -> ErrorReply:
    """Make the error for a call with too few or too many words."""
    return ErrorReply(b"ERR wrong number of arguments for '%s' command" % row.name.encode())


def wrong_words(argv: list[bytes]) -> CommandError:
    """Make the error for a subcommand with too many words, where its own arity is open."""
    text = b"ERR unknown subcommand or wrong number of arguments for '%s'. Try %s HELP."
    return CommandError(text % (argv[1][:_ERROR_WORDS_MAX], argv[0].upper()))


def keys_of(row: Row, argv: list[bytes], has_channels: bool = False) -> list[bytes] | None:
    """List the keys of a call, in order; None if the call is malformed. Fast for one key at a fixed place.

    has_channels: list shard channels, too, which are no keys but routed like keys.
    """
    if row.first_key == row.last_key and not row.flags & MOVABLE_KEYS:
        is_key = row.first_key and (has_channels or not row.flags & PUBSUB)
        return [argv[row.first_key]] if is_key else []
    if row.find_keys is not None:
        return row.find_keys(argv)
    keys: list[bytes] = []
    for spec in row.key_specs:
        positions = spec.positions(argv)
        if positions is None:
            return None
        if has_channels or not spec.use & NOT_KEY:
            keys.extend([argv[at] for at in positions])
    return keys


def _unknown(argv: list[bytes]) -> ErrorReply:
    arguments = b""
    for word in argv[1:]:
        if len(arguments) >= _ERROR_WORDS_MAX:
            break
        arguments += b"'%s' " % _quoted(word, _ERROR_WORDS_MAX - len(arguments))
    name = _quoted(argv[0], _ERROR_WORDS_MAX)
    return ErrorReply(b"ERR unknown command '%s', with args beginning with: %s" % (name, arguments))


def _unknown_subcommand(name: str, word: bytes) -> ErrorReply:
    shown = _quoted(word, _ERROR_WORDS_MAX)
    return ErrorReply(b"ERR unknown subcommand '%s'. Try %s HELP." % (shown, name.upper().encode()))


def _quoted(word: bytes, length_max: int) -> bytes:
    """Cut a word as C's %.*s does; a line break would end the error reply."""
    return word[:length_max].split(b"\0", 1)[0].replace(b"\r", b" ").replace(b"\n", b" ")


def run_container(ctx: Session, argv: list[bytes]) -> Reply:
    """Refuse a container without a subcommand; reached only through its row in ROWS."""
    return wrong_arity(ROWS[argv[0].lower()])


def run_help(ctx: Session, argv: list[bytes]) -> Reply:
    """Answer any container's HELP from the declarations of its subcommands."""
    name = argv[0].lower()
    lines: list[Reply] = [SimpleString(b"%s <subcommand> [<argument> ...]. Subcommands are:" % name.upper())]
    for subcommand, row in sorted(CONTAINERS[name].subcommands.items()):
        line = row.documentation.usage.encode()
        lines.append(SimpleString(b"%s %s" % (subcommand.upper(), line) if line else subcommand.upper()))
        lines.append(SimpleString(b"    " + row.documentation.summary.encode()))
    return lines
