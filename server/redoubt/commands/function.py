"""FCALL and FUNCTION: functions that are part of the dataset.

FUNCTION LOAD, DELETE, FLUSH and RESTORE are writes: they are propagated as they came and count as changes for
the save points. The payload of FUNCTION DUMP is Redis's: each library as in an RDB file, then version and
checksum.

Source: the Redis command reference, group "scripting", as of 7.2; the texts are Redis's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.declare import (
    ACCESS,
    ALLOW_BUSY,
    DENYOOM,
    MAY_REPLICATE,
    NEEDS_ROLE,
    NO_MANDATORY_KEYS,
    NOSCRIPT,
    READONLY,
    RO,
    RW,
    SCRIPTING,
    SKIP_MONITOR,
    STALE,
    UPDATE,
    WRITE,
    command,
    container,
)
from redoubt.data.glob import Glob
from redoubt.persist.function_payload import dump_functions, restore_functions
from redoubt.persist.payload import UntrustedPayload
from redoubt.resp.replies import OK, CommandError, ErrorReply, MapReply, Reply, SetReply, SimpleString
from redoubt.scripting.engine import key_count_of, scripting_of
from redoubt.scripting.run import FLAGS, ScriptRun

if TYPE_CHECKING:
    from redoubt.scripting.libraries import Function, Library
    from redoubt.session import Session

NOT_FOUND: Final = ErrorReply(b"ERR Function not found")
BAD_COUNT: Final = b"ERR Bad number of keys provided"
CALLS: Final = NOSCRIPT | SKIP_MONITOR | NO_MANDATORY_KEYS | STALE | NEEDS_ROLE
CHANGES: Final = NOSCRIPT | WRITE
TO_ALL_SHARDS: Final = ("request_policy:all_shards", "response_policy:all_succeeded")


@command("FCALL", "function numkeys [key [key ...]] [arg [arg ...]]", group=SCRIPTING,
         flags=CALLS | MAY_REPLICATE, use=RW | ACCESS | UPDATE, since="7.0.0",
         complexity="Depends on the function that is executed.", summary="Call a function.")  # fmt: skip
def fcall(ctx: Session, argv: list[bytes]) -> Reply:
    return call_function(ctx, argv, False)


@command("FCALL_RO", "function numkeys [key [key ...]] [arg [arg ...]]", group=SCRIPTING,
         flags=CALLS | READONLY, use=RO | ACCESS, since="7.0.0",
         complexity="Depends on the function that is executed.",
         summary="Call a function that writes nothing.")  # fmt: skip
def fcall_read_only(ctx: Session, argv: list[bytes]) -> Reply:
    return call_function(ctx, argv, True)


def call_function(ctx: Session, argv: list[bytes], is_read_only: bool) -> Reply:
    """Call a function of a library."""
    scripting = scripting_of(ctx.state)
    function = scripting.libraries.functions.get(argv[1])
    if function is None:
        return NOT_FOUND
    key_count = key_count_of(argv, BAD_COUNT)
    run = ScriptRun(ctx, argv, function.name, function.flags, False)
    refusal = scripting.begin(run, is_read_only, argv[3 : 3 + key_count])
    if refusal is not None:
        return refusal
    try:
        interpreter = scripting.library_interpreter()
        outcome = interpreter.call(function.callback, argv[3:], key_count, scripting.chosen_resp)
    finally:
        scripting.end(run)
    return scripting.reply(run, outcome)


container("FUNCTION", group=SCRIPTING, since="7.0.0", summary="Commands on the libraries of functions.")


@command("FUNCTION LOAD", "[REPLACE] function-code", group=SCRIPTING, flags=CHANGES | DENYOOM, since="7.0.0",
         complexity="O(1), without what the code does while it is loaded.", tips=TO_ALL_SHARDS,
         summary="Add a library.")  # fmt: skip
def function_load(ctx: Session, argv: list[bytes]) -> Reply:
    replaces = False
    for word in argv[2:-1]:
        if word.lower() != b"replace":
            raise CommandError(b"ERR Unknown option given: %s" % word)
        replaces = True
    name = scripting_of(ctx.state).libraries.load(argv[-1], replaces, not ctx.is_master_link)
    ctx.db.changes += 1
    return name


@command("FUNCTION DELETE", "library-name", group=SCRIPTING, flags=CHANGES, since="7.0.0", complexity="O(1)",
         tips=TO_ALL_SHARDS, summary="Remove a library.")  # fmt: skip
def function_delete(ctx: Session, argv: list[bytes]) -> Reply:
    scripting_of(ctx.state).libraries.delete(argv[2])
    ctx.db.changes += 1
    return OK


@command("FUNCTION FLUSH", "[ASYNC | SYNC]", group=SCRIPTING, flags=CHANGES, since="7.0.0",
         complexity="O(N), N being the number of functions.", tips=TO_ALL_SHARDS,
         summary="Remove all libraries.")  # fmt: skip
def function_flush(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        raise wrong_subcommand(argv)
    if len(argv) == 3 and argv[2].lower() not in (b"sync", b"async"):
        raise CommandError(b"ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
    scripting_of(ctx.state).libraries.flush()
    ctx.db.changes += 1
    return OK


def wrong_subcommand(argv: list[bytes]) -> CommandError:
    """Make the error for too many words."""
    return CommandError(
        b"ERR unknown subcommand or wrong number of arguments for '%s'. Try FUNCTION HELP." % argv[1][:128]
    )


@command("FUNCTION DUMP", group=SCRIPTING, flags=NOSCRIPT, since="7.0.0",
         complexity="O(N), N being the number of functions.",
         summary="Return all libraries as one payload.")  # fmt: skip
def function_dump(ctx: Session, argv: list[bytes]) -> Reply:
    return dump_functions(scripting_of(ctx.state).libraries.codes(), ctx.state.config.rdbcompression)


@command("FUNCTION RESTORE", "serialized-value [FLUSH | APPEND | REPLACE]", group=SCRIPTING,
         flags=CHANGES | DENYOOM, since="7.0.0", complexity="O(N), N being the number of functions.",
         tips=TO_ALL_SHARDS, summary="Add the libraries of a payload.")  # fmt: skip
def function_restore(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 4:
        raise wrong_subcommand(argv)
    policy = argv[3].lower() if len(argv) == 4 else b"append"
    if policy not in (b"append", b"replace", b"flush"):
        raise CommandError(
            b"ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE."
        )
    try:
        codes = restore_functions(argv[2])
    except UntrustedPayload:
        raise CommandError(b"ERR DUMP payload version or checksum are wrong") from None
    libraries = scripting_of(ctx.state).libraries
    made = libraries.compile_all(codes)
    if policy == b"flush":
        libraries.replace_all(made)
    else:
        libraries.join(made, policy == b"replace")
    ctx.db.changes += 1
    return OK


@command("FUNCTION LIST", "[LIBRARYNAME library-name-pattern] [WITHCODE]", group=SCRIPTING, flags=NOSCRIPT,
         since="7.0.0", complexity="O(N), N being the number of functions.",
         tips=("nondeterministic_output_order",), summary="List the libraries.")  # fmt: skip
def function_list(ctx: Session, argv: list[bytes]) -> Reply:
    has_code = False
    pattern: bytes | None = None
    at = 2
    while at < len(argv):
        word = argv[at].lower()
        if word == b"withcode" and not has_code:
            has_code = True
        elif word == b"libraryname" and pattern is None:
            if at == len(argv) - 1:
                raise CommandError(b"ERR library name argument was not given")
            at += 1
            pattern = argv[at]
        else:
            raise CommandError(b"ERR Unknown argument %s" % argv[at])
        at += 1
    libraries = scripting_of(ctx.state).libraries.by_name.values()
    glob = Glob(b"*" if pattern is None else pattern, ignores_case=True)
    return [described_library(library, has_code) for library in libraries if glob.matches(library.name)]


def described_library(library: Library, has_code: bool) -> Reply:
    """Describe a library for FUNCTION LIST."""
    functions: list[Reply] = [described_function(function) for function in library.functions.values()]
    pairs: list[tuple[Reply, Reply]] = [
        (b"library_name", library.name), (b"engine", b"LUA"), (b"functions", functions),
    ]  # fmt: skip
    if has_code:
        pairs.append((b"library_code", library.code))
    return MapReply(pairs)


def described_function(function: Function) -> Reply:
    """Describe a function for FUNCTION LIST."""
    flags: list[Reply] = [SimpleString(name) for name, flag in FLAGS.items() if function.flags & flag]
    return MapReply(
        [(b"name", function.name), (b"description", function.description), (b"flags", SetReply(flags))]
    )


@command("FUNCTION STATS", group=SCRIPTING, flags=NOSCRIPT | ALLOW_BUSY, since="7.0.0", complexity="O(1)",
         tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
         summary="Say which function runs, and count them all.")  # fmt: skip
def function_stats(ctx: Session, argv: list[bytes]) -> Reply:
    scripting = scripting_of(ctx.state)
    run = scripting.run
    if run is not None and run.is_eval:
        return scripting.busy_refusal()
    running: Reply = None
    if run is not None:
        duration_ms = ctx.state.process.monotonic_ms() - run.started_ms
        running = MapReply([(b"name", run.name), (b"command", run.argv), (b"duration_ms", duration_ms)])
    libraries = scripting.libraries
    counts = MapReply([
        (b"libraries_count", len(libraries.by_name)), (b"functions_count", len(libraries.functions)),
    ])  # fmt: skip
    return MapReply([(b"running_script", running), (b"engines", MapReply([(b"LUA", counts)]))])


@command("FUNCTION KILL", group=SCRIPTING, flags=NOSCRIPT | ALLOW_BUSY, since="7.0.0", complexity="O(1)",
         tips=("request_policy:all_shards", "response_policy:one_succeeded"),
         summary="End the running function, unless it has written.")  # fmt: skip
def function_kill(ctx: Session, argv: list[bytes]) -> Reply:
    return scripting_of(ctx.state).kill(False) or OK
