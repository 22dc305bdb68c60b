"""COMMAND: what the server says of its own commands, made from their declarations.

Everything here is read off the rows and their usage lines: nothing is kept twice. Names of choices and blocks
are made from their parts, since the documentation's usage lines do not name them.

The dispatcher runs these; clients call COMMAND when they connect, cluster clients COMMAND GETKEYS.
Source: https://redis.io/docs/latest/commands/command/ and the pages of its subcommands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments
from redoubt.commands.call_keys import used_keys
from redoubt.commands.declare import (
    CONNECTION,
    CONTAINERS,
    FLAG_NAMES,
    LOADING,
    NO_MANDATORY_KEYS,
    ROWS,
    SERVER,
    STALE,
    KeySpec,
    Row,
    command,
    find,
    keys_of,
    make_container,
)
from redoubt.commands.keyspecs import USE_NAMES
from redoubt.commands.usage import BLOCK, ONEOF, Argument
from redoubt.data.glob import Glob
from redoubt.resp.replies import CommandError, ErrorReply, MapReply, Reply, SetReply, SimpleString

if TYPE_CHECKING:
    from redoubt.session import Session

SUBCOMMAND: Final = LOADING | STALE
CATEGORY: Final = (CONNECTION,)
ANY_ORDER: Final = ("nondeterministic_output_order",)


def named(name: bytes) -> Row | None:
    """Return the row of a name as COMMAND gives them, such as get or config|get."""
    parent, _, subcommand = name.lower().partition(b"|")
    if not subcommand:
        return ROWS.get(parent)
    container = CONTAINERS.get(parent)
    return container.subcommands.get(subcommand) if container else None


def subcommands(row: Row) -> list[Row]:
    """Return the rows of a container's subcommands."""
    container = CONTAINERS.get(row.name.encode())
    return list(container.subcommands.values()) if container else []


# COMMAND and COMMAND INFO.


@command(
    "COMMAND", group=SERVER, flags=SUBCOMMAND, since="2.8.13", complexity="O(N) for N commands",
    arity=-1, categories=CATEGORY, summary="Describe all commands.", tips=ANY_ORDER,
)  # fmt: skip
def describe_all(ctx: Session, argv: list[bytes]) -> Reply:
    """COMMAND."""
    return [description(row) for row in ROWS.values()]


make_container("COMMAND", CATEGORY)


@command(
    "COMMAND INFO", "[command-name [command-name ...]]", group=SERVER, flags=SUBCOMMAND, since="2.8.13",
    complexity="O(N) for N names", categories=CATEGORY, tips=ANY_ORDER,
    summary="Describe the commands with these names, or all: arity, flags, where the keys stand.",
)  # fmt: skip
def command_info(ctx: Session, argv: list[bytes]) -> Reply:
    """COMMAND INFO: null for a name that is unknown."""
    if len(argv) == 2:
        return describe_all(ctx, argv)
    rows = [named(name) for name in argv[2:]]
    return [description(row) if row else None for row in rows]


def description(row: Row) -> list[Reply]:
    """Make the ten elements that stand for one command."""
    return [
        row.name.encode(),
        row.arity,
        SetReply([SimpleString(name.encode()) for bit, name in FLAG_NAMES.items() if row.flags & bit]),
        row.first_key,
        row.last_key,
        row.step,
        SetReply([SimpleString(b"@" + name.encode()) for name in row.categories]),
        SetReply([tip.encode() for tip in row.tips]),
        SetReply([_key_spec(spec) for spec in row.key_specs]),
        [description(nested) for nested in subcommands(row)],
    ]


def _key_spec(spec: KeySpec) -> MapReply:
    if spec.keyword:
        begin = [(b"type", b"keyword")]
        where = MapReply([(b"keyword", spec.keyword.encode()), (b"startfrom", spec.start_from)])
    else:
        begin = [(b"type", b"index")]
        where = MapReply([(b"index", spec.index)])
    if spec.is_unknown:
        begin = find_keys = [(b"type", b"unknown")]
        where = how = MapReply([])
    elif spec.is_counted:
        find_keys = [(b"type", b"keynum")]
        how = MapReply([(b"keynumidx", 0), (b"firstkey", 1), (b"keystep", spec.step)])
    else:
        find_keys = [(b"type", b"range")]
        how = MapReply([(b"lastkey", spec.last), (b"keystep", spec.step), (b"limit", spec.limit)])
    return MapReply(
        [
            (b"flags", SetReply(_uses(spec.use))),
            (b"begin_search", MapReply([*begin, (b"spec", where)])),
            (b"find_keys", MapReply([*find_keys, (b"spec", how)])),
        ]
    )


def _uses(use: int) -> list[Reply]:
    return [SimpleString(name.encode()) for bit, name in USE_NAMES.items() if use & bit]


# COMMAND DOCS.


@command(
    "COMMAND DOCS", "[command-name [command-name ...]]", group=SERVER, flags=SUBCOMMAND, since="7.0.0",
    complexity="O(N) for N names", categories=CATEGORY, tips=ANY_ORDER,
    summary="Return the documentation of the commands with these names, or of all.",
)  # fmt: skip
def command_docs(ctx: Session, argv: list[bytes]) -> Reply:
    """COMMAND DOCS: names that are unknown are left out."""
    rows = list(ROWS.values()) if len(argv) == 2 else [named(name) for name in argv[2:]]
    return MapReply([(row.name.encode(), documentation(row)) for row in rows if row])


def documentation(row: Row) -> MapReply:
    """Make the documentation of one command."""
    written = row.documentation
    pairs: list[tuple[Reply, Reply]] = [
        (b"summary", written.summary.encode()),
        (b"since", written.since.encode()),
        (b"group", written.group.encode()),
        (b"complexity", written.complexity.encode()),
    ]
    if written.arguments:
        pairs.append((b"arguments", [_argument(argument) for argument in written.arguments]))
    if nested := subcommands(row):
        pairs.append((b"subcommands", MapReply([(n.name.encode(), documentation(n)) for n in nested])))
    return MapReply(pairs)


def _argument(argument: Argument) -> MapReply:
    pairs: list[tuple[Reply, Reply]] = [
        (b"name", argument.name.encode()),
        (b"type", argument.kind.encode()),
    ]
    if argument.kind not in (ONEOF, BLOCK):
        pairs.append((b"display_text", argument.name.encode()))
    if argument.key_spec_index >= 0:
        pairs.append((b"key_spec_index", argument.key_spec_index))
    if argument.token:
        pairs.append((b"token", argument.token.encode()))
    flags = (
        (b"optional", argument.is_optional),
        (b"multiple", argument.is_multiple),
        (b"multiple_token", argument.is_multiple_token),
    )
    if shown := [SimpleString(name) for name, is_set in flags if is_set]:
        pairs.append((b"flags", SetReply(shown)))
    if argument.arguments:
        pairs.append((b"arguments", [_argument(nested) for nested in argument.arguments]))
    return MapReply(pairs)


# COMMAND COUNT and LIST.


@command(
    "COMMAND COUNT", group=SERVER, flags=SUBCOMMAND, since="2.8.13", complexity="O(1)", categories=CATEGORY,
    summary="Count the commands.",
)  # fmt: skip
def command_count(ctx: Session, argv: list[bytes]) -> Reply:
    """COMMAND COUNT: subcommands do not count."""
    return len(ROWS)


@command(
    "COMMAND LIST",
    "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
    group=SERVER, flags=SUBCOMMAND, since="7.0.0", complexity="O(N) for N commands", categories=CATEGORY,
    summary="Return the names of the commands, or of those that fit.", tips=ANY_ORDER,
)  # fmt: skip
def command_list(ctx: Session, argv: list[bytes]) -> Reply:
    """COMMAND LIST: without a filter the names of commands, with one also those of subcommands."""
    rows = list(ROWS.values())
    if len(argv) == 2:
        return [row.name.encode() for row in rows]
    arguments = Arguments(argv, 2)
    if not arguments.skip(b"FILTERBY") or arguments.left() != 2:
        raise arguments.syntax_error()
    kind, wanted = arguments.keyword(), arguments.word()
    rows += [nested for row in rows for nested in subcommands(row)]
    if kind == b"PATTERN":
        pattern = Glob(wanted, ignores_case=True)
        return [row.name.encode() for row in rows if pattern.matches(row.name.encode())]
    if kind == b"ACLCAT":
        category = wanted.lower().decode("latin-1")
        return [row.name.encode() for row in rows if category in row.categories]
    if kind == b"MODULE":
        return []
    raise arguments.syntax_error()


# COMMAND GETKEYS.


@command(
    "COMMAND GETKEYS", "command [arg [arg ...]]", group=SERVER, flags=SUBCOMMAND, since="2.8.13", arity=-4,
    complexity="O(N) for N words", categories=CATEGORY, summary="Return the keys of a whole call.",
)  # fmt: skip
def command_getkeys(ctx: Session, argv: list[bytes]) -> Reply:
    """COMMAND GETKEYS."""
    row = _row_with_keys(argv[2:])
    keys = keys_of(row, argv[2:])
    if keys or row.flags & NO_MANDATORY_KEYS:
        return list(keys or [])
    return ErrorReply(b"ERR Invalid arguments specified for command")


@command(
    "COMMAND GETKEYSANDFLAGS", "command [arg [arg ...]]", group=SERVER, flags=SUBCOMMAND, since="7.0.0",
    arity=-4, complexity="O(N) for N words", categories=CATEGORY,
    summary="Return the keys of a whole call, each with what is done with it.",
)  # fmt: skip
def command_getkeysandflags(ctx: Session, argv: list[bytes]) -> Reply:
    """COMMAND GETKEYSANDFLAGS."""
    call = argv[2:]
    used = used_keys(_row_with_keys(call), call)
    if used is None:
        return ErrorReply(b"ERR Invalid arguments specified for command")
    return [[each.key, SetReply(_uses(each.use))] for each in used]


def _row_with_keys(call: list[bytes]) -> Row:
    row = find(call)
    if isinstance(row, ErrorReply):
        raise CommandError(b"ERR Invalid command specified")
    if not row.key_specs:
        raise CommandError(b"ERR The command has no key arguments")
    if not row.argc_min <= len(call) <= row.argc_max:
        raise CommandError(b"ERR Invalid number of arguments specified for command")
    return row
