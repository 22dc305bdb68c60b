"""EVAL and its relatives, and SCRIPT: the scripts that clients send.

What a script does is decided in `redoubt.scripting`; here stand the declarations, the arguments and the
replies. The debugger (SCRIPT DEBUG YES) is not part of this server: the mode is accepted as on a server to
which nobody attaches a debugger, and EVAL runs as usual.

Source: the Redis command reference, group "scripting", as of 7.2; the texts are Redis's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.declare import (
    ACCESS,
    ALLOW_BUSY,
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
    command,
    container,
)
from redoubt.resp.replies import OK, CommandError, ErrorReply, Reply
from redoubt.scripting.engine import key_count_of, scripting_of

if TYPE_CHECKING:
    from redoubt.session import Session

NO_SCRIPT: Final = ErrorReply(b"NOSCRIPT No matching script. Please use EVAL.")
BAD_COUNT: Final = b"ERR value is not an integer or out of range"
CALLS: Final = NOSCRIPT | SKIP_MONITOR | NO_MANDATORY_KEYS | STALE | NEEDS_ROLE
TO_ALL_NODES: Final = ("request_policy:all_nodes", "response_policy:all_succeeded")


@command("EVAL", "script numkeys [key [key ...]] [arg [arg ...]]", group=SCRIPTING,
         flags=CALLS | MAY_REPLICATE, use=RW | ACCESS | UPDATE, since="2.6.0",
         complexity="Depends on the script that is executed.", summary="Run a Lua script.")  # fmt: skip
def eval_script(ctx: Session, argv: list[bytes]) -> Reply:
    return run_text(ctx, argv, False)


@command("EVAL_RO", "script numkeys [key [key ...]] [arg [arg ...]]", group=SCRIPTING, flags=CALLS | READONLY,
         use=RO | ACCESS, since="7.0.0", complexity="Depends on the script that is executed.",
         summary="Run a Lua script that writes nothing.")  # fmt: skip
def eval_read_only(ctx: Session, argv: list[bytes]) -> Reply:
    return run_text(ctx, argv, True)


@command("EVALSHA", "sha1 numkeys [key [key ...]] [arg [arg ...]]", group=SCRIPTING,
         flags=CALLS | MAY_REPLICATE, use=RW | ACCESS | UPDATE, since="2.6.0",
         complexity="Depends on the script that is executed.",
         summary="Run a Lua script that the server knows, by its SHA-1.")  # fmt: skip
def eval_sha(ctx: Session, argv: list[bytes]) -> Reply:
    return run_known(ctx, argv, False)


@command("EVALSHA_RO", "sha1 numkeys [key [key ...]] [arg [arg ...]]", group=SCRIPTING,
         flags=CALLS | READONLY, use=RO | ACCESS, since="7.0.0",
         complexity="Depends on the script that is executed.",
         summary="Run a Lua script that the server knows and that writes nothing.")  # fmt: skip
def eval_sha_read_only(ctx: Session, argv: list[bytes]) -> Reply:
    return run_known(ctx, argv, True)


def run_text(ctx: Session, argv: list[bytes], is_read_only: bool) -> Reply:
    """Run a script that came with the call."""
    key_count = 0 if argv[2] == b"0" else key_count_of(argv, BAD_COUNT)
    scripts = scripting_of(ctx.state).scripts
    return scripts.run(ctx, scripts.load(argv[1]), argv, key_count, is_read_only)


def run_known(ctx: Session, argv: list[bytes], is_read_only: bool) -> Reply:
    """Run a script by its SHA-1."""
    key_count = 0 if argv[2] == b"0" else key_count_of(argv, BAD_COUNT)
    scripts = scripting_of(ctx.state).scripts
    script = scripts.find(argv[1])
    if script is None:
        return NO_SCRIPT
    return scripts.run(ctx, script, argv, key_count, is_read_only)


container("SCRIPT", group=SCRIPTING, since="2.6.0", summary="Commands on the scripts that the server knows.")


@command("SCRIPT LOAD", "script", group=SCRIPTING, flags=NOSCRIPT | STALE, since="2.6.0",
         complexity="O(N), N being the length of the script.", tips=TO_ALL_NODES,
         summary="Compile a script without running it; return its SHA-1.")  # fmt: skip
def script_load(ctx: Session, argv: list[bytes]) -> Reply:
    return scripting_of(ctx.state).scripts.load(argv[2]).sha


@command("SCRIPT EXISTS", "sha1 [sha1 ...]", group=SCRIPTING, flags=NOSCRIPT, since="2.6.0",
         complexity="O(N), N being the number of scripts.",
         tips=("request_policy:all_shards", "response_policy:agg_logical_and"),
         summary="Say which of these scripts the server knows.")  # fmt: skip
def script_exists(ctx: Session, argv: list[bytes]) -> Reply:
    scripts = scripting_of(ctx.state).scripts
    return [int(scripts.find(sha) is not None) for sha in argv[2:]]


@command("SCRIPT FLUSH", "[ASYNC | SYNC]", group=SCRIPTING, flags=NOSCRIPT, since="2.6.0",
         complexity="O(N), N being the number of scripts.", tips=TO_ALL_NODES,
         summary="Forget all scripts.")  # fmt: skip
def script_flush(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 3 or (len(argv) == 3 and argv[2].lower() not in (b"sync", b"async")):
        raise CommandError(b"ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    scripting_of(ctx.state).scripts.flush()
    return OK


@command("SCRIPT KILL", group=SCRIPTING, flags=NOSCRIPT | ALLOW_BUSY, since="2.6.0", complexity="O(1)",
         tips=("request_policy:all_shards", "response_policy:one_succeeded"),
         summary="End the running script, unless it has written.")  # fmt: skip
def script_kill(ctx: Session, argv: list[bytes]) -> Reply:
    return scripting_of(ctx.state).kill(True) or OK


@command("SCRIPT DEBUG", "<YES | SYNC | NO>", group=SCRIPTING, flags=NOSCRIPT, since="3.2.0",
         complexity="O(1)", summary="Set the debug mode; there is no debugger.")  # fmt: skip
def script_debug(ctx: Session, argv: list[bytes]) -> Reply:
    if argv[2].lower() not in (b"yes", b"sync", b"no"):
        raise CommandError(b"ERR Use SCRIPT DEBUG YES/SYNC/NO")
    return OK
