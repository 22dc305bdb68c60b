"""One run of a script or function: for whom it runs, what its flags allow, what it has done so far.

The flags are those of a shebang line (`#!lua flags=no-writes,...`) or of `redis.register_function`. A script
without a shebang has FLAG_COMPATIBLE alone: it may try everything, and each command decides.

The engine makes one `ScriptRun` at a time; the commands FUNCTION STATS and SCRIPT KILL look at it.
Source: "Script flags" in the Redis documentation; the texts are Redis's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.resp.replies import CommandError

if TYPE_CHECKING:
    from redoubt.session import Session

FLAG_NO_WRITES: Final = 1 << 0
FLAG_ALLOW_OOM: Final = 1 << 1
FLAG_ALLOW_STALE: Final = 1 << 2
FLAG_NO_CLUSTER: Final = 1 << 3
FLAG_ALLOW_CROSS_SLOT: Final = 1 << 4
FLAG_COMPATIBLE: Final = 1 << 5

# By name, in the order in which FUNCTION LIST shows them.
FLAGS: Final[dict[bytes, int]] = {
    b"no-writes": FLAG_NO_WRITES,
    b"allow-oom": FLAG_ALLOW_OOM,
    b"allow-stale": FLAG_ALLOW_STALE,
    b"no-cluster": FLAG_NO_CLUSTER,
    b"allow-cross-slot-keys": FLAG_ALLOW_CROSS_SLOT,
}

# redis.set_repl.
REPLICATE_NONE: Final = 0
REPLICATE_AOF: Final = 1
REPLICATE_REPLICAS: Final = 2
REPLICATE_ALL: Final = REPLICATE_AOF | REPLICATE_REPLICAS


class ScriptRun:
    """What is known of the script that runs."""

    def __init__(self, caller: Session, argv: list[bytes], name: bytes, flags: int, is_eval: bool) -> None:
        self.caller = caller
        self.argv = argv  # the command that started it
        self.name = name  # the SHA-1 of a script, the name of a function
        self.flags = flags
        self.is_eval = is_eval
        self.is_read_only = False
        self.started_ms = 0  # on the monotonic clock of the process
        self.alive_ms = 0  # when the bus and the health port were last answered; as `started_ms`: not yet
        self.has_written = False
        self.is_out_of_memory = False  # when it began
        self.is_timed_out = False
        self.is_killed = False
        self.replicates = REPLICATE_ALL
        self.slot = -1  # where its keys are, in a cluster


def parse_shebang(body: bytes) -> tuple[int, bytes]:
    """Return the flags of a script and its code; raises CommandError for a bad first line.

    The line break that ends the shebang stays, so that the lines keep their numbers.
    """
    if not body.startswith(b"#!"):
        return FLAG_COMPATIBLE, body
    end = body.find(b"\n")
    if end < 0:
        raise CommandError(b"ERR Invalid script shebang")
    parts = body[:end].split(b" ")
    if parts[0] != b"#!lua":
        raise CommandError(b"ERR Unexpected engine in script shebang: %s" % parts[0])
    flags = 0
    for part in parts[1:]:
        if not part:
            continue
        if not part.startswith(b"flags="):
            raise CommandError(b"ERR Unknown lua shebang option: %s" % part)
        for name in part[6:].split(b","):
            if not name and part == b"flags=":
                continue
            flag = FLAGS.get(name)
            if flag is None:
                raise CommandError(b"ERR Unexpected flag in script shebang: %s" % name)
            flags |= flag
    return flags, body[end:]
