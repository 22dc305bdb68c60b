"""Runs scripts: prepares a run, executes the commands it calls, converts the outcome, watches the time.

A script is one atomic unit: what its commands propagate goes out together, the script itself never. They run
in a session of their own, with the caller's user and database, to which no gate applies: the conditions that
gates stand for are asked here, with the texts that scripts get. So a script may read where it may not write,
and once it has written it is not stopped by a lack of memory.

The server has one thread. Every 100,000 instructions the interpreter calls `tick`. Every 100 milliseconds the
runtime answers the cluster bus and the health port from within it; after `busy-reply-threshold` milliseconds
other clients, too, who get BUSY for all but the commands that may end the script. A script that has written
cannot be killed.

The commands EVAL, FCALL and their relatives call `begin`, an interpreter, and `end`; the functions of `redis`
call `execute`. Source: Redis `src/script.c` for order and texts; the page "Scripting with Lua".
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from redoubt.access import check
from redoubt.access.denials import IN_SCRIPT
from redoubt.admission import DISK, MASTER_DOWN, NO_REPLICAS, OOM, READ_ONLY
from redoubt.commands.declare import DENYOOM, NOSCRIPT, READONLY, STALE, TABLE, WRITE, Row, find, keys_of
from redoubt.data.text import parse_integer
from redoubt.hooks import ScriptingHook
from redoubt.resp.replies import CommandError, ErrorReply, Reply
from redoubt.resp.requests import RequestParser
from redoubt.scripting.api import RedisFunctions
from redoubt.scripting.interpreter import OUT_OF_MEMORY, Interpreter, Outcome
from redoubt.scripting.libraries import Libraries
from redoubt.scripting.run import (
    FLAG_ALLOW_CROSS_SLOT,
    FLAG_ALLOW_OOM,
    FLAG_ALLOW_STALE,
    FLAG_COMPATIBLE,
    FLAG_NO_CLUSTER,
    FLAG_NO_WRITES,
    REPLICATE_REPLICAS,
    ScriptRun,
)
from redoubt.scripting.scripts import ScriptCache
from redoubt.session import (
    GATE_BUSY,
    GATE_DISK,
    GATE_MEMORY,
    GATE_MIN_REPLICAS,
    GATE_NO_TOUCH,
    GATE_REPLICA,
    GATE_STALE,
    Session,
)

if TYPE_CHECKING:
    from redoubt.state import ServerState

log = logging.getLogger("redoubt")

# How often a script is interrupted to show that this node lives: often enough for a node timeout of a second.
LIFE_EVERY_MS: Final = 100
# Redis: LOAD_TIMEOUT_MS.
LOAD_TIMEOUT_MS: Final = 500
UNKNOWN: Final = ErrorReply(b"ERR Unknown Redis command called from script")
WRONG_ARITY: Final = ErrorReply(b"ERR Wrong number of args calling Redis command from script")
NOT_FROM_SCRIPT: Final = ErrorReply(b"ERR This Redis command is not allowed from script")
STALE_REPLICA: Final = ErrorReply(b"ERR Can not execute the command on a stale replica")
READ_ONLY_SCRIPT: Final = ErrorReply(b"ERR Write commands are not allowed from read-only scripts.")
DOWN: Final = ErrorReply(b"ERR Script attempted to execute a command while the cluster is down")
DOWN_READ_ONLY: Final = ErrorReply(
    b"ERR Script attempted to execute a write command while the cluster is down and readonly"
)
CROSS_SLOT: Final = ErrorReply(b"ERR Script attempted to access keys that do not hash to the same slot")
NOT_LOCAL: Final = ErrorReply(b"ERR Script attempted to access a non local key in a cluster node")
NO_CLUSTER: Final = ErrorReply(b"ERR Can not run script on cluster, 'no-cluster' flag is set.")
WRITES_IN_READ_ONLY: Final = ErrorReply(b"ERR Can not execute a script with write flag using *_ro command.")
NOT_BUSY: Final = ErrorReply(b"NOTBUSY No scripts in execution right now.")
UNKILLABLE: Final = ErrorReply(
    b"UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait "
    b"the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
)
UNKILLABLE_OF_MASTER: Final = ErrorReply(
    b"UNKILLABLE The busy script was sent by a master instance in the context of replication and cannot be "
    b"killed."
)
BUSY_SCRIPT: Final = ErrorReply(
    b"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
)
BUSY_FUNCTION: Final = ErrorReply(
    b"BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
)


class Scripting(ScriptingHook):
    """The scripts and functions of one server; see the module's docstring."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.run: ScriptRun | None = None
        self.loading_since_ms = -1
        self._session: Session | None = None
        self._evaluator: Interpreter | None = None
        self._library_interpreter: Interpreter | None = None
        self.scripts = ScriptCache(self)
        self.libraries = Libraries(self)
        state.config.on_change("lua-memory-limit", self.follow_config)

    # The interpreters, made when they are first needed.

    def evaluator(self) -> Interpreter:
        """Return the interpreter of EVAL."""
        if self._evaluator is None:
            self._evaluator = self.make_interpreter(False)
        return self._evaluator

    def library_interpreter(self) -> Interpreter:
        """Return the interpreter of the function libraries."""
        if self._library_interpreter is None:
            self._library_interpreter = self.make_interpreter(True)
        return self._library_interpreter

    def make_interpreter(self, is_library_engine: bool) -> Interpreter:
        """Make a new Lua state."""
        functions = RedisFunctions(self, is_library_engine)
        made = Interpreter(
            functions.table(), self.tick, self.state.config.lua_memory_limit, is_library_engine
        )
        functions.interpreter = made
        return made

    def forget_evaluator(self) -> None:
        """Drop the state of EVAL with everything that scripts left in it."""
        if self._evaluator is not None:
            self._evaluator.close()
        self._evaluator = None

    def forget_library_interpreter(self) -> None:
        """Drop the state of the libraries."""
        if self._library_interpreter is not None:
            self._library_interpreter.close()
        self._library_interpreter = None

    def follow_config(self) -> str:
        """Take over the memory limit."""
        for interpreter in (self._evaluator, self._library_interpreter):
            if interpreter is not None:
                interpreter.limit_memory(self.state.config.lua_memory_limit)
        return ""

    def library_codes(self) -> list[bytes]:
        """Return the code of every function library, for a snapshot."""
        return self.libraries.codes()

    def install_libraries(self, codes: list[bytes]) -> str:
        """Have the libraries of a snapshot and no others; return what is wrong with them, if anything."""
        if not codes and not self.libraries.by_name:
            return ""
        present = self._library_interpreter
        self._library_interpreter = None
        try:
            self.libraries.replace_all(self.libraries.compile_all(codes))
        except CommandError as error:
            self.forget_library_interpreter()
            self._library_interpreter = present
            return error.text.decode("utf-8", "backslashreplace")
        if present is not None:
            present.close()
        return ""

    def figures(self) -> list[tuple[str, int]]:
        """Return what INFO memory says of scripts: name, number."""
        evaluator_bytes, library_bytes = self.memory_bytes()
        code_bytes = sum([len(code) for code in self.libraries.codes()])
        return [
            ("used_memory_vm_eval", evaluator_bytes),
            ("used_memory_lua", evaluator_bytes),
            ("used_memory_scripts_eval", self.scripts.size_bytes),
            ("number_of_cached_scripts", len(self.scripts.by_sha)),
            ("number_of_functions", len(self.libraries.functions)),
            ("number_of_libraries", len(self.libraries.by_name)),
            ("used_memory_vm_functions", library_bytes),
            ("used_memory_vm_total", evaluator_bytes + library_bytes),
            ("used_memory_functions", code_bytes),
            ("used_memory_scripts", self.scripts.size_bytes + code_bytes),
        ]

    def memory_bytes(self) -> tuple[int, int]:
        """Return what the states of EVAL and of the libraries occupy."""
        evaluator, library = self._evaluator, self._library_interpreter
        return (
            0 if evaluator is None else evaluator.memory_bytes(),
            0 if library is None else library.memory_bytes(),
        )

    # A run.

    def session(self) -> Session:
        """Return the session in which the commands of scripts run."""
        made = self._session
        if made is None:
            made = Session(self.state, 0, RequestParser(self.state.config.proto_max_bulk_len), "", "")
            made.is_atomic = True
            made.is_of_scripts = True
            self._session = made
        return made

    def begin(self, run: ScriptRun, is_read_only: bool, keys: list[bytes]) -> ErrorReply | None:
        """Begin a run, or say why it may not. keys: those that the caller declared."""
        assert self.run is None, "scripts are not nested"
        caller = run.caller
        state = self.state
        flags = run.flags
        gates = 0 if caller.is_master_link else state.gates
        if gates & GATE_MEMORY:
            run.is_out_of_memory = not state.upkeep.has_room()
        refusal = self.refusal(run, gates, is_read_only)
        if refusal is not None:
            return refusal
        run.is_read_only = is_read_only or bool(flags & FLAG_NO_WRITES)
        if keys and state.cluster is not None:
            run.slot = caller.db.slot_of(keys[0])
        run.started_ms = state.process.monotonic_ms()
        run.alive_ms = run.started_ms
        session = self.session()
        session.db = caller.db
        session.database = caller.database
        session.now_ms = caller.now_ms
        session.resp = 2
        session.gates = 0
        session.is_readonly = caller.is_readonly
        session.is_asking = caller.is_asking
        session.user = caller.user
        session.is_authenticated = True
        self.run = run
        state.dispatcher.begin_unit()
        return None

    def refusal(self, run: ScriptRun, gates: int, is_read_only: bool) -> ErrorReply | None:
        """Say why a script with these flags may not begin."""
        flags = run.flags
        if flags & FLAG_COMPATIBLE:
            return MASTER_DOWN if gates & GATE_STALE else None
        if gates & GATE_STALE and not flags & FLAG_ALLOW_STALE:
            return MASTER_DOWN
        if run.is_out_of_memory and not flags & FLAG_ALLOW_OOM:
            return OOM
        if not flags & FLAG_NO_WRITES:
            if gates & GATE_DISK:
                return DISK
            if gates & GATE_MIN_REPLICAS:
                return NO_REPLICAS
            if gates & GATE_REPLICA:
                return READ_ONLY
        if flags & FLAG_NO_CLUSTER and self.state.cluster is not None:
            return NO_CLUSTER
        if is_read_only and not flags & FLAG_NO_WRITES:
            return WRITES_IN_READ_ONLY
        return None

    def end(self, run: ScriptRun) -> None:
        """End a run, whatever its outcome."""
        self.run = None
        self.state.dispatcher.end_unit()
        if run.is_timed_out:
            self.state.set_gate(GATE_BUSY, False)
        if run.alive_ms != run.started_ms:
            self.state.process.served_others()

    def reply(self, run: ScriptRun, outcome: Outcome) -> Reply:
        """Return the reply of a run, with the name and the place of an error behind its text."""
        if not outcome.error:
            return outcome.reply
        if outcome.reply is None:
            return ErrorReply(b"ERR Error running script %s, %s" % (run.name, outcome.error[:100]))
        if outcome.source and outcome.line:
            return ErrorReply(
                b"%s script: %s, on %s:%s." % (outcome.error, run.name, outcome.source, outcome.line)
            )
        return ErrorReply(outcome.error)

    def chosen_resp(self) -> int:
        """Return the protocol version that the running script has chosen."""
        return self.session().resp

    # Commands of scripts.

    def execute(self, run: ScriptRun, argv: list[bytes]) -> Reply:
        """Run one command for a script."""
        row = TABLE.get(argv[0])
        if row is None:
            found = find(argv)
            if isinstance(found, ErrorReply):
                return WRONG_ARITY if found.text.startswith(b"ERR wrong number") else UNKNOWN
            row = found
        if not row.argc_min <= len(argv) <= row.argc_max:
            return WRONG_ARITY
        flags = row.flags
        if flags & NOSCRIPT:
            return NOT_FROM_SCRIPT
        session = self.session()
        if not run.caller.is_master_link:
            if self.state.gates or flags & WRITE:
                refusal = self.command_refusal(run, row)
                if refusal is not None:
                    return refusal
            if session.user.is_restricted():
                denied = check.denied_to(session, row, argv, IN_SCRIPT)
                if denied is not None:
                    return ErrorReply(b"ERR ACL failure in script: " + denied.text(session.user, row, False))
            if flags & WRITE:
                run.has_written = True
            if self.state.cluster is not None:
                refusal = self.cluster_refusal(run, session, row, argv)
                if refusal is not None:
                    return refusal
        elif flags & WRITE:
            run.has_written = True
        caller = self.state.current
        if caller is not None and caller.tracking is not None:
            self.state.tracking.remember(caller, row, argv)
        if caller is not None and caller.gates & GATE_NO_TOUCH and flags & READONLY:
            return self.state.dispatcher.call_untouched(session, row, argv)
        if run.replicates & REPLICATE_REPLICAS:
            return self.state.dispatcher.call(session, row, argv)
        return self.call_unpropagated(session, row, argv)

    def call_unpropagated(self, session: Session, row: Row, argv: list[bytes]) -> Reply:
        """Run a command of a script that has switched replication off (redis.set_repl)."""
        session.is_unpropagated = True
        try:
            return self.state.dispatcher.call(session, row, argv)
        finally:
            session.is_unpropagated = False

    def command_refusal(self, run: ScriptRun, row: Row) -> ErrorReply | None:
        """Ask the conditions of the server for a command of a script, in Redis's order."""
        gates = self.state.gates
        flags = row.flags
        if gates & GATE_STALE and not flags & STALE:
            return STALE_REPLICA
        if flags & WRITE:
            if run.is_read_only:
                return READ_ONLY_SCRIPT
            if gates & GATE_REPLICA:
                return READ_ONLY
            if gates & GATE_DISK:
                return DISK
            if gates & GATE_MIN_REPLICAS:
                return NO_REPLICAS
        if (
            run.is_out_of_memory
            and flags & DENYOOM
            and not run.has_written
            and not run.flags & FLAG_ALLOW_OOM
        ):
            return OOM
        return None

    def is_permitted(self, run: ScriptRun, row: Row, argv: list[bytes]) -> bool:
        """Say whether the caller's user may run a command (redis.acl_check_cmd)."""
        user = run.caller.user
        return not user.is_restricted() or check.denial(user, row, argv) is None

    def cluster_refusal(
        self, run: ScriptRun, session: Session, row: Row, argv: list[bytes]
    ) -> ErrorReply | None:
        """Say why the keys of a command cannot be used here."""
        cluster = self.state.cluster
        assert cluster is not None
        # A session that is blocked is not held back: keys on the move are refused instead.
        session.is_blocked = True
        refusal = cluster.refusal(session, row, argv)
        session.is_blocked = False
        if refusal is None:
            return self.slot_refusal(run, session, row, argv)
        if isinstance(refusal, ErrorReply):
            text = refusal.text
            if text.startswith(b"CLUSTERDOWN The cluster is down and only"):
                return DOWN_READ_ONLY
            if text.startswith(b"CLUSTERDOWN The cluster is down"):
                return DOWN
            if text.startswith(b"CROSSSLOT"):
                return CROSS_SLOT
        return NOT_LOCAL

    def slot_refusal(
        self, run: ScriptRun, session: Session, row: Row, argv: list[bytes]
    ) -> ErrorReply | None:
        """Hold a script with a shebang to one slot."""
        if run.flags & (FLAG_COMPATIBLE | FLAG_ALLOW_CROSS_SLOT):
            return None
        keys = keys_of(row, argv)
        if keys:
            slot = session.db.slot_of(keys[0])
            if run.slot < 0:
                run.slot = slot
            elif run.slot != slot:
                return CROSS_SLOT
        return None

    # Time.

    def tick(self) -> Any:
        """Look at the clock, from within a script; return the error that ends it, or None.

        Called by the interpreters every 100,000 instructions.
        """
        process = self.state.process
        now_ms = process.monotonic_ms()
        run = self.run
        running = self._evaluator if run is not None and run.is_eval else self._library_interpreter
        if running is not None and running.is_full():
            return OUT_OF_MEMORY
        if run is None:
            if self.loading_since_ms >= 0 and now_ms - self.loading_since_ms > LOAD_TIMEOUT_MS:
                return b"ERR FUNCTION LOAD timeout"
            return None
        if now_ms - run.alive_ms >= LIFE_EVERY_MS:
            run.alive_ms = now_ms
            process.show_life()
        threshold_ms = self.state.config.busy_reply_threshold
        if not run.is_timed_out:
            elapsed_ms = now_ms - run.started_ms
            if threshold_ms <= 0 or elapsed_ms < threshold_ms:
                return None
            log.warning(
                "Slow script detected: still in execution after %d milliseconds. You can try killing the "
                "script using the %s command.",
                elapsed_ms,
                "SCRIPT KILL" if run.is_eval else "FUNCTION KILL",
            )
            run.is_timed_out = True
            run.alive_ms = now_ms
            self.state.set_gate(GATE_BUSY, True)
        process.serve_others(run.caller)
        if run.is_killed:
            log.warning("Lua script killed by user with SCRIPT KILL.")
            return b"ERR Script killed by user with SCRIPT KILL..."
        return None

    def busy_refusal(self) -> ErrorReply:
        """Return what clients get while a script is busy."""
        run = self.run
        return BUSY_FUNCTION if run is not None and not run.is_eval else BUSY_SCRIPT

    def kill(self, is_eval: bool) -> ErrorReply | None:
        """Have the running script end at the next look at the clock, or say why not."""
        run = self.run
        if run is None:
            return NOT_BUSY
        if run.caller.is_master_link:
            return UNKILLABLE_OF_MASTER
        if run.has_written:
            return UNKILLABLE
        if is_eval != run.is_eval:
            return self.busy_refusal()
        run.is_killed = True
        return None


def scripting_of(state: ServerState) -> Scripting:
    """Return the scripting of a server, as the node has made it."""
    scripting = state.scripting
    assert isinstance(scripting, Scripting)
    return scripting


def key_count_of(argv: list[bytes], text: bytes) -> int:
    """Return the number of keys of EVAL or FCALL; raises CommandError. text: for what is no number."""
    count = parse_integer(argv[2])
    if count is None:
        raise CommandError(text)
    if count > len(argv) - 3:
        raise CommandError(b"ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise CommandError(b"ERR Number of keys can't be negative")
    return count
