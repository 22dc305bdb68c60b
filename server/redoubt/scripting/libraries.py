"""The libraries of functions: loaded, listed, dumped and restored as a whole, and called by FCALL.

A library is Lua code whose first line names engine and library; running it registers functions. It is part of
the dataset: FUNCTION LOAD is propagated, a snapshot holds the code (opcode 245), and a full sync replaces it.
A change is made whole or not at all: new libraries are compiled beside the old ones and joined at the end.

The commands of `redoubt.commands.function` and the loader of RDB call it. Source: "Redis functions" in the
documentation, Redis `src/functions.c` for the order of the checks; the texts are Redis's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import lupa.lua51 as lupa

from redoubt.resp.inline import split_words
from redoubt.resp.replies import CommandError
from redoubt.scripting.run import FLAGS

if TYPE_CHECKING:
    from redoubt.scripting.engine import Scripting

_NAME_LETTERS: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
BAD_LIBRARY_NAME: Final = (
    b"Library names can only contain letters, numbers, or underscores(_) and must be at least one character "
    b"long"
)
BAD_FUNCTION_NAME: Final = (
    b"Library names can only contain letters, numbers, or underscores(_) and must be at least one character "
    b"long"
)


class Function:
    """One function of a library."""

    def __init__(self, name: bytes, description: bytes | None, flags: int, callback: Any) -> None:
        self.name = name
        self.description = description
        self.flags = flags
        self.callback = callback


class Library:
    """One library with its functions, in the order in which they were registered."""

    def __init__(self, name: bytes, code: bytes) -> None:
        self.name = name
        self.code = code  # with its first line
        self.functions: dict[bytes, Function] = {}


class Libraries:
    """The libraries of one server."""

    def __init__(self, scripting: Scripting) -> None:
        self.scripting = scripting
        self.by_name: dict[bytes, Library] = {}
        self.functions: dict[bytes, Function] = {}
        self._loading: Library | None = None

    def load(self, code: bytes, replaces: bool, has_timeout: bool = True) -> bytes:
        """Compile and add a library; return its name. Raises CommandError."""
        name = library_name(code)
        if name in self.by_name and not replaces:
            raise CommandError(b"ERR Library '%s' already exists" % name)
        library = self.compile(name, code, has_timeout)
        self.join([library], True)
        return name

    def compile(self, name: bytes, code: bytes, has_timeout: bool) -> Library:
        """Run the code of a library, which registers its functions; raises CommandError."""
        scripting = self.scripting
        interpreter = scripting.library_interpreter()
        function, complaint = interpreter.compile(code[code.index(b"\n") :], b"@user_function")
        if function is None:
            raise CommandError(b"ERR Error compiling function: " + complaint)
        library = Library(name, code)
        self._loading = library
        scripting.loading_since_ms = scripting.state.process.monotonic_ms() if has_timeout else -1
        try:
            error = interpreter.load_library(function)
        finally:
            self._loading = None
            scripting.loading_since_ms = -1
        if error:
            raise CommandError(b"ERR Error registering functions: " + error)
        if not library.functions:
            raise CommandError(b"ERR No functions registered")
        return library

    def join(self, libraries: list[Library], replaces: bool) -> None:
        """Add libraries, replacing those of the same name; raises CommandError and then changes nothing."""
        kept = dict(self.by_name)
        for library in libraries:
            if kept.pop(library.name, None) is not None and not replaces:
                raise CommandError(b"ERR Library %s already exists" % library.name)
        taken: dict[bytes, Function] = {}
        for present in kept.values():
            taken.update(present.functions)
        for library in libraries:
            for name in library.functions:
                if name in taken:
                    raise CommandError(b"ERR Function %s already exists" % name)
            taken.update(library.functions)
            kept[library.name] = library
        self.by_name = kept
        self.functions = taken

    def replace_all(self, libraries: list[Library]) -> None:
        """Have these libraries and no others; raises CommandError and then changes nothing."""
        present, functions = self.by_name, self.functions
        self.by_name, self.functions = {}, {}
        try:
            self.join(libraries, False)
        except CommandError:
            self.by_name, self.functions = present, functions
            raise

    def delete(self, name: bytes) -> None:
        """Remove a library; raises CommandError."""
        library = self.by_name.pop(name, None)
        if library is None:
            raise CommandError(b"ERR Library not found")
        for function in library.functions:
            del self.functions[function]

    def flush(self) -> None:
        """Remove all libraries, and with them the Lua state."""
        self.by_name = {}
        self.functions = {}
        self.scripting.forget_library_interpreter()

    def codes(self) -> list[bytes]:
        """Return the code of every library, for a snapshot."""
        return [library.code for library in self.by_name.values()]

    def compile_all(self, codes: list[bytes]) -> list[Library]:
        """Compile what a snapshot or a payload holds; raises CommandError."""
        libraries: dict[bytes, Library] = {}
        for code in codes:
            name = library_name(code)
            if name in libraries:
                raise CommandError(b"ERR Library '%s' already exists" % name)
            libraries[name] = self.compile(name, code, False)
        return list(libraries.values())

    # redis.register_function

    def register(self, words: tuple[Any, ...]) -> bytes:
        """Register a function of the library that is being loaded; return the error, if any."""
        library = self._loading
        if library is None:
            return b"redis.register_function can only be called on FUNCTION LOAD command"
        if not 1 <= len(words) <= 2:
            return b"wrong number of arguments to redis.register_function"
        if len(words) == 1:
            made = named_registration(words[0])
        else:
            made = positional_registration(words)
        if isinstance(made, bytes):
            return made
        if not is_name(made.name):
            return BAD_FUNCTION_NAME
        if made.name in library.functions:
            return b"Function already exists in the library"
        library.functions[made.name] = made
        return b""


def library_name(code: bytes) -> bytes:
    """Return the name in the first line of a library; raises CommandError for a bad one."""
    if not code.startswith(b"#!"):
        raise CommandError(b"ERR Missing library metadata")
    end = code.find(b"\n")
    if end < 0:
        raise CommandError(b"ERR Invalid library metadata")
    parts = split_words(code[:end])
    if not parts:
        raise CommandError(b"ERR Invalid library metadata")
    engine = parts[0][2:]
    name: bytes | None = None
    for part in parts[1:]:
        if part[:5].lower() != b"name=":
            raise CommandError(b"ERR Invalid metadata value given: %s" % part)
        if name is not None:
            raise CommandError(b"ERR Invalid metadata value, name argument was given multiple times")
        name = part[5:]
    if name is None:
        raise CommandError(b"ERR Library name was not given")
    if not is_name(name):
        raise CommandError(b"ERR " + BAD_LIBRARY_NAME)
    if engine.lower() != b"lua":
        raise CommandError(b"ERR Engine '%s' not found" % engine)
    return name


def is_name(name: bytes) -> bool:
    """Say whether this may name a library or a function."""
    return bool(name) and all(letter in _NAME_LETTERS for letter in name)


def named_registration(table: Any) -> Function | bytes:
    """Read `redis.register_function{function_name=..., callback=..., flags=..., description=...}`."""
    if lupa.lua_type(table) != "table":
        return (
            b"calling redis.register_function with a single argument is only applicable to Lua table "
            b"(representing named arguments)."
        )
    name: bytes | None = None
    description: bytes | None = None
    callback: Any = None
    flags = 0
    for key, value in table.items():
        word = text_or_none(key)
        if word is None:
            return b"named argument key given to redis.register_function is not a string"
        word = word.lower()
        if word == b"function_name":
            name = text_or_none(value)
            if name is None:
                return b"function_name argument given to redis.register_function must be a string"
        elif word == b"description":
            description = text_or_none(value)
            if description is None:
                return b"description argument given to redis.register_function must be a string"
        elif word == b"callback":
            if not is_function(value):
                return b"callback argument given to redis.register_function must be a function"
            callback = value
        elif word == b"flags":
            if lupa.lua_type(value) != "table":
                return (
                    b"flags argument to redis.register_function must be a table representing function flags"
                )
            read = read_flags(value)
            if read is None:
                return b"unknown flag given"
            flags = read
        else:
            return b"unknown argument given to redis.register_function"
    if name is None:
        return b"redis.register_function must get a function name argument"
    if callback is None:
        return b"redis.register_function must get a callback argument"
    return Function(name, description, flags, callback)


def positional_registration(words: tuple[Any, ...]) -> Function | bytes:
    """Read `redis.register_function(name, callback)`."""
    name = text_or_none(words[0])
    callback = words[1]
    if name is None:
        return b"first argument to redis.register_function must be a string"
    if not is_function(callback):
        return b"second argument to redis.register_function must be a function"
    return Function(name, None, 0, callback)


def is_function(value: Any) -> bool:
    """Say whether a value is a function of Lua, or one of ours (redis.log), which comes unwrapped."""
    kind = lupa.lua_type(value)
    return bool(kind == "function" or (kind is None and callable(value)))


def text_or_none(value: Any) -> bytes | None:
    """Return a string, or a number as one; None for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return b"%.14g" % value
    return value if isinstance(value, bytes) else None


def read_flags(table: Any) -> int | None:
    """Read a list of flag names; None: one of them is unknown."""
    flags = 0
    at = 1
    while (name := table[at]) is not None:
        flag = FLAGS.get(name.lower()) if isinstance(name, bytes) else None
        if flag is None:
            return None
        flags |= flag
        at += 1
    return flags
