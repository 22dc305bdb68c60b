"""The scripts that EVAL and SCRIPT LOAD have compiled, by the SHA-1 of their text.

A script is compiled once and stays until SCRIPT FLUSH, which also drops the Lua state with everything in it.
A second dictionary, by text, spares the hash of a script that is sent again and again.

The commands of `redoubt.commands.script` call it. Source: the pages of EVAL, EVALSHA and SCRIPT.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from redoubt.resp.replies import CommandError, Reply
from redoubt.scripting.run import ScriptRun, parse_shebang

if TYPE_CHECKING:
    from redoubt.scripting.engine import Scripting
    from redoubt.session import Session

# What a cached script occupies beside its text and its Lua function: entries, objects.
SCRIPT_OVERHEAD_BYTES: Final = 400


class Script:
    """One compiled script."""

    def __init__(self, sha: bytes, flags: int, function: Any, size_bytes: int) -> None:
        self.sha = sha
        self.flags = flags
        self.function = function
        self.size_bytes = size_bytes


class ScriptCache:
    """The compiled scripts of one server."""

    def __init__(self, scripting: Scripting) -> None:
        self.scripting = scripting
        self.by_sha: dict[bytes, Script] = {}
        self.by_text: dict[bytes, Script] = {}
        self.size_bytes = 0

    def load(self, text: bytes) -> Script:
        """Return the script of this text, compiling it if it is new; raises CommandError."""
        script = self.by_text.get(text)
        if script is not None:
            return script
        flags, code = parse_shebang(text)
        function, complaint = self.scripting.evaluator().compile(code, b"@user_script")
        if function is None:
            raise CommandError(b"ERR Error compiling script (new function): " + complaint)
        sha = hashlib.sha1(text).hexdigest().encode()
        script = Script(sha, flags, function, len(text) + SCRIPT_OVERHEAD_BYTES)
        self.by_sha[sha] = self.by_text[text] = script
        self.size_bytes += script.size_bytes
        return script

    def find(self, sha: bytes) -> Script | None:
        """Return a script by its SHA-1, in either letter case."""
        return self.by_sha.get(sha) or self.by_sha.get(sha.lower())

    def flush(self) -> None:
        """Forget all scripts."""
        self.by_sha = {}
        self.by_text = {}
        self.size_bytes = 0
        self.scripting.forget_evaluator()

    def run(
        self, caller: Session, script: Script, argv: list[bytes], key_count: int, is_read_only: bool
    ) -> Reply:
        """Run a script for a client. argv: the whole command."""
        scripting = self.scripting
        run = ScriptRun(caller, argv, script.sha, script.flags, True)
        refusal = scripting.begin(run, is_read_only, argv[3 : 3 + key_count])
        if refusal is not None:
            return refusal
        try:
            interpreter = scripting.evaluator()
            outcome = interpreter.run(script.function, argv[3:], key_count, scripting.chosen_resp)
        finally:
            scripting.end(run)
        return scripting.reply(run, outcome)
