"""One Lua 5.1 state with the sandbox in it, and what is called across the border in both directions.

EVAL has one interpreter and the function libraries another, as in Redis: what scripts leave behind in the
one cannot be seen in the other. Strings are bytes on both sides. A call into Lua costs 0.3 us, one out of it
0.4 us, so a result comes back in one call, flat (`redoubt.scripting.sandbox` says how).

Python objects never become values of a script: what is handed over is bytes, a number, a boolean, nil or a
Lua table. lupa's own doors are closed as well: no `eval`, no builtins, no attribute can be read.

The engine and the libraries make interpreters and call `run` and its relatives. What the functions of `redis`
do is decided in `redoubt.scripting.api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import lupa.lua51 as lupa

from redoubt.resp.doubles import double_text
from redoubt.resp.replies import (
    BigNumber,
    Boolean,
    Double,
    ErrorReply,
    MapReply,
    NullArray,
    Push,
    Reply,
    SetReply,
    SimpleString,
    Verbatim,
)
from redoubt.scripting import lua_json, lua_msgpack, lua_results, lua_struct, sandbox
from redoubt.scripting.arguments import Arguments
from redoubt.scripting.bits import BitFunctions
from redoubt.scripting.random48 import Random48
from redoubt.scripting.results import FlatResult, scalar

if TYPE_CHECKING:
    from collections.abc import Callable

# More arguments than these are handed over as tables: Lua's C stack has 8,000 places.
WORDS_ON_STACK_MAX: Final = 3000
# What must stay free below the memory limit: an allocation that fails while Python hands a value to Lua, and
# not while Lua runs, ends the process.
RESERVE_BYTES: Final = 1024 * 1024
# What an item of a table takes beside its text, about.
ITEM_BYTES: Final = 64
OUT_OF_MEMORY: Final = b"ERR Error running script, not enough memory"


class LuaRaise(Exception):
    """Makes a function of `redis` raise in the script what `Interpreter.pending` holds."""


class Outcome:
    """What a run gave: a reply, or an error with the place where it was raised."""

    def __init__(self, reply: Reply, error: bytes = b"", source: bytes = b"", line: bytes = b"") -> None:
        self.reply = reply
        self.error = error
        self.source = source
        self.line = line


def refuse_attribute(value: object, name: object, is_setting: bool) -> str:
    """Let no attribute of a Python object be read or set from Lua."""
    raise AttributeError("not accessible")


class Interpreter:
    """One Lua state; see the module's docstring."""

    def __init__(
        self, redis_table: dict[bytes, Any], tick: Callable[[], Any], memory_max: int,
        is_library_engine: bool,
    ) -> None:  # fmt: skip
        self.pending: Any = None
        self.memory_max = memory_max
        self.is_limit_raised = False
        arguments = Arguments(self.fail_at_caller)
        self.random = Random48(arguments)
        self.runtime: Any = lupa.LuaRuntime(
            encoding=None, attribute_filter=refuse_attribute, register_eval=False, register_builtins=False,
            unpack_returned_tuples=True, max_memory=memory_max,
        )  # fmt: skip
        table_from = self.runtime.table_from
        structs = lua_struct.StructFunctions(arguments)
        host = table_from({
            b"take_error": self.take_error, b"tick": tick,
            b"random": self.random.random, b"randomseed": self.random.seed,
            b"bit": table_from(BitFunctions(arguments).table()),
            b"struct": table_from({
                b"pack": structs.pack, b"unpack": structs.unpack, b"size": structs.size,
            }),
            b"pack_double": lua_msgpack.pack_double, b"pack_integer": lua_msgpack.pack_integer,
            b"unpack_number": lua_msgpack.unpack_number,
            b"results": lua_results.SOURCE, b"cjson": lua_json.SOURCE, b"cmsgpack": lua_msgpack.SOURCE,
        })  # fmt: skip
        entry: Any = self.runtime.execute(
            sandbox.SOURCE, host, table_from(redis_table), is_library_engine, sandbox.HOOK_INSTRUCTIONS,
            sandbox.NESTING_MAX, sandbox.CHUNK_VALUES, name=b"=redoubt",
        )  # fmt: skip
        self.table_from: Any = table_from
        self._run: Any = entry[b"run"]
        self._run_with: Any = entry[b"run_with"]
        self._call: Any = entry[b"call"]
        self._more: Any = entry[b"more"]
        self._compile: Any = entry[b"compile"]
        self._load_library: Any = entry[b"load_library"]
        self._status: Any = entry[b"status"]
        self._error: Any = entry[b"error"]
        self._double: Any = entry[b"double"]
        self._big_number: Any = entry[b"big_number"]
        self._verbatim: Any = entry[b"verbatim"]
        self._map: Any = entry[b"map"]
        self._where: Any = entry[b"where"]

    def close(self) -> None:
        """Let go of the Lua state, which holds us by the functions that it may call.

        Only this breaks the cycle: the collector does not look at what has lived for long. The caller forgets
        the functions that it has compiled.
        """
        self.runtime = self.table_from = self.pending = None
        self._run = self._run_with = self._call = self._more = self._compile = self._load_library = None
        self._status = self._error = self._double = self._big_number = self._verbatim = self._map = None
        self._where = None

    # Errors of functions that scripts call.

    def take_error(self) -> Any:
        """Give Lua the value for which the exception that it caught stands."""
        pending = self.pending
        self.pending = None
        return pending

    def fail(self, text: bytes, is_counted: bool = False) -> LuaRaise:
        """Return the exception that raises an error table in the script, as redis.call does."""
        self.pending = self._error(text, is_counted)
        return LuaRaise()

    def fail_at_caller(self, text: bytes) -> LuaRaise:
        """Return the exception that raises a text behind script and line, as Lua's libraries do."""
        self.pending = self._where() + text
        return LuaRaise()

    # Running.

    def compile(self, code: bytes, name: bytes) -> tuple[Any, bytes]:
        """Return the function that a chunk is, or None and Lua's complaint."""
        if self.memory_max and not self.has_room_for([code]):
            return None, b"not enough memory"
        try:
            compiled = self._compile(code, name)
        except lupa.LuaError as error:
            return None, lua_message(error)
        if isinstance(compiled, tuple):
            return None, bytes(compiled[1])
        return compiled, b""

    def run(self, function: Any, words: list[bytes], key_count: int, resp: Callable[[], int]) -> Outcome:
        """Run a script. words: its keys and arguments; resp: asked afterwards which protocol it chose."""
        if self.memory_max and not self.has_room_for(words):
            return Outcome(None, b"not enough memory")
        try:
            if len(words) <= WORDS_ON_STACK_MAX:
                result = self._run(function, key_count, *words)
            else:
                keys = self.table_from(words[:key_count])
                result = self._run_with(function, keys, self.table_from(words[key_count:]))
            return self.outcome(result, resp())
        except lupa.LuaError as error:
            return Outcome(None, lua_message(error))

    def call(self, function: Any, words: list[bytes], key_count: int, resp: Callable[[], int]) -> Outcome:
        """Call a function of a library."""
        if self.memory_max and not self.has_room_for(words):
            return Outcome(None, b"not enough memory")
        try:
            keys = self.table_from(words[:key_count])
            result = self._call(function, keys, self.table_from(words[key_count:]))
            return self.outcome(result, resp())
        except lupa.LuaError as error:
            return Outcome(None, lua_message(error))

    def load_library(self, function: Any) -> bytes:
        """Run the code of a library, which registers its functions; return the error, if any."""
        try:
            result = self._load_library(function)
        except lupa.LuaError as error:
            return lua_message(error)
        return b"" if result is True else bytes(result[1])

    def outcome(self, result: Any, resp: int) -> Outcome:
        """Turn what a run handed over into its outcome."""
        kind = result[0]
        if kind == sandbox.KIND_SCALAR:
            value = result[1]
            return Outcome(value if isinstance(value, bytes) else scalar(value, resp))
        if kind == sandbox.KIND_FLAT:
            return Outcome(FlatResult(list(result), 1, resp).next())
        if kind == sandbox.KIND_LONG:
            items: list[Any] = []
            for first in range(1, result[1] + 1, sandbox.CHUNK_VALUES):
                items.extend(self._more(first, first + sandbox.CHUNK_VALUES - 1)[1:])
            return Outcome(FlatResult(items, 0, resp).next())
        error, source, line = result[1], result[2], result[3]
        if error is None:
            return Outcome(None, source)
        return Outcome(ErrorReply(error), error, source or b"", line or b"")

    # Memory.

    def memory_bytes(self) -> int:
        """Return what the state occupies."""
        return int(self.runtime.get_memory_used(total=True) or 0)

    def limit_memory(self, memory_max: int) -> None:
        """Let the state grow up to so many bytes; 0: without a limit."""
        self.memory_max = memory_max
        self.runtime.set_max_memory(memory_max)

    def is_full(self) -> bool:
        """Say whether so little is left that the script must end."""
        return self.memory_max > 0 and self.runtime.get_memory_used() + RESERVE_BYTES > self.memory_max

    def has_room_for(self, words: list[bytes]) -> bool:
        """Say whether a run may begin with these words, after collecting garbage if that is needed."""
        if self.is_limit_raised:
            self.is_limit_raised = False
            self.runtime.gccollect()
            self.runtime.set_max_memory(self.memory_max)
        size_bytes = ITEM_BYTES * len(words) + sum([len(word) for word in words]) + RESERVE_BYTES
        if self.runtime.get_memory_used() + size_bytes <= self.memory_max:
            return True
        self.runtime.gccollect()
        return bool(self.runtime.get_memory_used() + size_bytes <= self.memory_max)

    def may_take(self, reply: Reply) -> bool:
        """Say whether a reply can be handed to the script; if not, make room for the error that says so."""
        if not self.memory_max:
            return True
        used_bytes = self.runtime.get_memory_used()
        if used_bytes + size_of(reply) + RESERVE_BYTES <= self.memory_max:
            return True
        self.is_limit_raised = True
        self.runtime.set_max_memory(used_bytes + RESERVE_BYTES)
        return False

    def error_table(self, text: bytes) -> Any:
        """Make an error table, as redis.pcall returns it."""
        return self._error(text, False)

    def status_table(self, text: bytes) -> Any:
        """Make a status table."""
        return self._status(text)

    # Replies as values of Lua.

    def to_lua(self, reply: Reply, resp: int) -> Any:
        """Convert a reply as redis.call returns it under this protocol version."""
        if isinstance(reply, (bytes, int)):
            return reply
        if reply is None:
            return False if resp == 2 else None
        if isinstance(reply, list):
            return self.array_to_lua(reply, resp)
        if isinstance(reply, SimpleString):
            return self._status(reply.text)
        if isinstance(reply, ErrorReply):
            return self._error(reply.text, True)
        return self.rare_to_lua(reply, resp)

    def array_to_lua(self, items: list[Any], resp: int) -> Any:
        """Convert an array; the usual one has only strings."""
        for item in items:
            if not isinstance(item, bytes):
                return self.table_from([self.to_lua(each, resp) for each in items])
        return self.table_from(items)

    def rare_to_lua(self, reply: Reply, resp: int) -> Any:
        """Convert the types that RESP3 added, or what stands for them in RESP2."""
        if isinstance(reply, NullArray):
            return False if resp == 2 else None
        if isinstance(reply, Double):
            return double_text(reply.value) if resp == 2 else self._double(reply.value)
        if isinstance(reply, MapReply):
            flat: list[Any] = []
            for key, value in reply.pairs:
                flat.append(self.to_lua(key, resp))
                flat.append(self.to_lua(value, resp))
            return self.table_from(flat) if resp == 2 else self._map_of(flat)
        if isinstance(reply, (SetReply, Push)):
            items = [self.to_lua(item, resp) for item in reply.items]
            if resp == 2 or isinstance(reply, Push):
                return self.table_from(items)
            members = self.table_from(dict.fromkeys(items, True))
            return self.table_from({b"set": members})
        if isinstance(reply, Boolean):
            return reply.value if resp == 3 else int(reply.value)
        if isinstance(reply, Verbatim):
            return reply.text if resp == 2 else self._verbatim(reply.form, reply.text)
        if isinstance(reply, BigNumber):
            text = b"%d" % reply.value
            return text if resp == 2 else self._big_number(text)
        return False  # NO_REPLY: a command that would have blocked

    def _map_of(self, flat: list[Any]) -> Any:
        if len(flat) <= WORDS_ON_STACK_MAX:
            return self._map(*flat)
        pairs = self.table_from({flat[at]: flat[at + 1] for at in range(0, len(flat), 2)})
        return self.table_from({b"map": pairs})


def lua_message(error: Exception) -> bytes:
    """Return the text of an error that Lua could not hand to the script's own handler."""
    if isinstance(error, lupa.LuaMemoryError):
        return b"not enough memory"
    text = error.args[0] if error.args else b""
    return (text if isinstance(text, bytes) else str(text).encode()) or b"execution failure"


def size_of(reply: Reply) -> int:
    """Estimate what a reply takes as a value of Lua."""
    if isinstance(reply, bytes):
        return len(reply) + ITEM_BYTES
    if isinstance(reply, list):
        return ITEM_BYTES + sum([size_of(item) for item in reply])
    if isinstance(reply, MapReply):
        return ITEM_BYTES + sum([size_of(key) + size_of(value) for key, value in reply.pairs])
    if isinstance(reply, (SetReply, Push)):
        return ITEM_BYTES + sum([size_of(item) for item in reply.items])
    return 2 * ITEM_BYTES if not isinstance(reply, Verbatim) else len(reply.text) + 2 * ITEM_BYTES
