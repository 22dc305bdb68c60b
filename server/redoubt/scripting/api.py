"""The table `redis` of scripts: call, pcall, log, setresp and the rest, as Python functions.

Each function gets what the script passed and returns bytes, a number, a boolean, None or a Lua table; to
raise, it throws what `Interpreter.fail` makes. Arguments arrive as Python's bytes, int, float, bool, None or
as a lupa object, which is never handed back.

The engine makes one object for each interpreter. Source: "Redis Lua API reference"; the texts are Redis's.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any, Final

from redoubt.commands.declare import TABLE, find
from redoubt.resp.replies import ErrorReply
from redoubt.scripting.arguments import number_of
from redoubt.scripting.interpreter import OUT_OF_MEMORY
from redoubt.scripting.run import (
    REPLICATE_ALL,
    REPLICATE_AOF,
    REPLICATE_NONE,
    REPLICATE_REPLICAS,
)
from redoubt.version import REDIS_VERSION

if TYPE_CHECKING:
    from redoubt.scripting.engine import Scripting
    from redoubt.scripting.interpreter import Interpreter

log = logging.getLogger("redoubt")

NO_ARGUMENTS: Final = b"ERR Please specify at least one argument for this redis lib call"
BAD_ARGUMENTS: Final = b"ERR Lua redis lib command arguments must be strings or integers"
WRONG_ARGUMENTS: Final = b"ERR wrong number or type of arguments"
# From here on %.17g writes an exponent.
PLAIN_INTEGERS_MAX: Final = 10**17
LOG_LEVELS: Final = (logging.DEBUG, logging.DEBUG, logging.INFO, logging.WARNING)


class RedisFunctions:
    """The functions of one interpreter's table `redis`."""

    def __init__(self, scripting: Scripting, is_library_engine: bool) -> None:
        self.scripting = scripting
        self.is_library_engine = is_library_engine
        self.interpreter: Interpreter  # set by the engine as soon as it exists

    def table(self) -> dict[bytes, Any]:
        """Return the table: functions and constants by name."""
        major, minor, patch = (int(part) for part in REDIS_VERSION.split("."))
        entries: dict[bytes, Any] = {
            b"call": self.call, b"pcall": self.pcall, b"sha1hex": self.sha1hex, b"log": self.log,
            b"error_reply": self.error_reply, b"status_reply": self.status_reply, b"setresp": self.setresp,
            b"set_repl": self.set_repl, b"acl_check_cmd": self.acl_check_cmd,
            b"LOG_DEBUG": 0, b"LOG_VERBOSE": 1, b"LOG_NOTICE": 2, b"LOG_WARNING": 3,
            b"REPL_NONE": REPLICATE_NONE, b"REPL_AOF": REPLICATE_AOF, b"REPL_SLAVE": REPLICATE_REPLICAS,
            b"REPL_REPLICA": REPLICATE_REPLICAS, b"REPL_ALL": REPLICATE_ALL,
            b"REDIS_VERSION": REDIS_VERSION.encode(), b"REDIS_VERSION_NUM": major << 16 | minor << 8 | patch,
        }  # fmt: skip
        if self.is_library_engine:
            entries[b"register_function"] = self.register_function
        else:
            entries[b"breakpoint"] = self.breakpoint
            entries[b"debug"] = self.debug
            entries[b"replicate_commands"] = self.replicate_commands
        return entries

    # Commands.

    def call(self, *words: Any) -> Any:
        """Run a command; an error ends the script."""
        return self.run_command(words, True)

    def pcall(self, *words: Any) -> Any:
        """Run a command; an error is a table."""
        return self.run_command(words, False)

    def run_command(self, words: tuple[Any, ...], raises: bool) -> Any:
        """Run a command and convert its reply."""
        interpreter = self.interpreter
        scripting = self.scripting
        run = scripting.run
        if run is None:
            raise interpreter.fail(b"ERR redis.call/pcall can only be called inside a script invocation")
        argv: list[bytes] = []
        for word in words:
            if isinstance(word, bytes):
                argv.append(word)
            elif isinstance(word, (int, float)) and not isinstance(word, bool):
                argv.append(number_text(word))
            else:
                return self.failed(BAD_ARGUMENTS, raises)
        if not argv:
            return self.failed(NO_ARGUMENTS, raises)
        reply = scripting.execute(run, argv)
        if not isinstance(reply, int) and not interpreter.may_take(reply):
            raise interpreter.fail(OUT_OF_MEMORY)
        if raises and isinstance(reply, ErrorReply):
            raise interpreter.fail(reply.text, True)
        return interpreter.to_lua(reply, scripting.chosen_resp())

    def failed(self, text: bytes, raises: bool) -> Any:
        """Raise an error, or return it as a table."""
        if raises:
            raise self.interpreter.fail(text)
        return self.interpreter.error_table(text)

    # Replies.

    def error_reply(self, *words: Any) -> Any:
        """Return an error table; a text without a code gets ERR."""
        if len(words) != 1 or not isinstance(words[0], bytes):
            return self.interpreter.error_table(WRONG_ARGUMENTS)
        text = words[0].split(b"\0", 1)[0]
        text = text.removeprefix(b"-")
        code, space, rest = text.partition(b" ")
        if not space:
            code, rest = b"ERR", text
        return self.interpreter.error_table(b"%s %s" % (code, rest.strip(b"\r\n")))

    def status_reply(self, *words: Any) -> Any:
        """Return a status table."""
        if len(words) != 1 or not isinstance(words[0], bytes):
            return self.interpreter.error_table(WRONG_ARGUMENTS)
        return self.interpreter.status_table(words[0])

    # Settings of the run.

    def setresp(self, *words: Any) -> Any:
        """Choose the protocol version in which replies are converted."""
        run = self.scripting.run
        if run is None:
            raise self.interpreter.fail(b"ERR redis.setresp can only be called inside a script invocation")
        if len(words) != 1:
            raise self.interpreter.fail(b"ERR redis.setresp() requires one argument.")
        version = whole(words[0])
        if version not in (2, 3):
            raise self.interpreter.fail(b"ERR RESP version must be 2 or 3.")
        self.scripting.session().resp = version

    def set_repl(self, *words: Any) -> Any:
        """Choose whether what follows is propagated."""
        run = self.scripting.run
        if run is None:
            raise self.interpreter.fail(b"ERR redis.set_repl can only be called inside a script invocation")
        if len(words) != 1:
            raise self.interpreter.fail(b"ERR redis.set_repl() requires two arguments.")
        flags = whole(words[0])
        if flags & ~REPLICATE_ALL:
            raise self.interpreter.fail(
                b"ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE."
            )
        run.replicates = flags

    def replicate_commands(self, *words: Any) -> Any:
        """Say that effects are replicated, as they always are."""
        return True

    # What has no effect on the data.

    def acl_check_cmd(self, *words: Any) -> Any:
        """Say whether the caller may run a command."""
        interpreter = self.interpreter
        run = self.scripting.run
        if run is None:
            raise interpreter.fail(b"ERR redis.acl_check_cmd can only be called inside a script invocation")
        argv: list[bytes] = []
        for word in words:
            if isinstance(word, bytes):
                argv.append(word)
            elif isinstance(word, (int, float)) and not isinstance(word, bool):
                argv.append(number_text(word))
            else:
                raise interpreter.fail(BAD_ARGUMENTS)
        if not argv:
            raise interpreter.fail(NO_ARGUMENTS)
        row = TABLE.get(argv[0])
        if row is None:
            found = find(argv)
            if isinstance(found, ErrorReply):
                raise interpreter.fail(b"ERR Invalid command passed to redis.acl_check_cmd()")
            row = found
        return self.scripting.is_permitted(run, row, argv)

    def sha1hex(self, *words: Any) -> Any:
        """Return the SHA-1 of a text."""
        if len(words) != 1:
            raise self.interpreter.fail(b"ERR wrong number of arguments")
        word = words[0]
        if isinstance(word, (int, float)) and not isinstance(word, bool):
            word = b"%.14g" % word
        return hashlib.sha1(word if isinstance(word, bytes) else b"").hexdigest().encode()

    def log(self, *words: Any) -> Any:
        """Write to the server's log."""
        fail = self.interpreter.fail
        if len(words) < 2:
            raise fail(b"ERR redis.log() requires two arguments or more.")
        level = words[0]
        if isinstance(level, bytes):
            level = number_of(level)
        if isinstance(level, bool) or not isinstance(level, (int, float)):
            raise fail(b"ERR First argument must be a number (log level).")
        if not 0 <= level < len(LOG_LEVELS):
            raise fail(b"ERR Invalid debug level.")
        texts = [word for word in words[1:] if isinstance(word, bytes)]
        log.log(LOG_LEVELS[int(level)], "%s", b" ".join(texts).decode("utf-8", "backslashreplace"))

    def breakpoint(self, *words: Any) -> Any:
        """Say that no debugger listens."""
        return False

    def debug(self, *words: Any) -> Any:
        """Write to the debugger, of which there is none."""

    # Libraries.

    def register_function(self, *words: Any) -> Any:
        """Register a function of the library that is being loaded."""
        error = self.scripting.libraries.register(words)
        if error:
            raise self.interpreter.fail(b"ERR " + error)


def number_text(number: float) -> bytes:
    """Write a number as an argument of a command: without a fraction if it has none, else 17 digits."""
    if isinstance(number, int) and -PLAIN_INTEGERS_MAX < number < PLAIN_INTEGERS_MAX:
        return b"%d" % number
    return b"%.17g" % number


def whole(word: Any) -> int:
    """Return an argument as a C int, as lua_tonumber and a cast make it: 0 for what is no number."""
    if isinstance(word, bytes):
        word = number_of(word)
    if isinstance(word, (int, float)) and not isinstance(word, bool):
        return int(word) if abs(word) < 2**31 else 0
    return 0
