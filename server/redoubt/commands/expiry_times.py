"""The expiry arguments of SET, GETEX and SETEX: which options exclude each other, and what time they mean.

Every relative time becomes absolute here, once; what is propagated and stored is the absolute time in
milliseconds, so that a replica or a log read later decides nothing again.

Called by the string commands. Texts and exclusions: Redis's `parseExtendedStringArgumentsOrReply` and
`getExpireMillisecondsOrReply` as documented on the pages of SET and GETEX.
"""

from __future__ import annotations

from typing import Final

from redoubt.commands.arguments import Arguments, integer
from redoubt.data.text import INTEGER_MAX
from redoubt.resp.replies import CommandError

# The words that give a time: (is in seconds, is relative to now).
_TIMES: Final[dict[bytes, tuple[bool, bool]]] = {
    b"EX": (True, True),
    b"PX": (False, True),
    b"EXAT": (True, False),
    b"PXAT": (False, False),
}


class StringOptions:
    """What stands behind the value of SET or the key of GETEX."""

    def __init__(self) -> None:
        self.is_nx = False
        self.is_xx = False
        self.is_get = False
        self.keeps_ttl = False
        self.is_persist = False
        # EX, PX, EXAT or PXAT, or empty; and the word that followed it, not parsed yet: Redis reports a
        # syntax error further on before a bad number.
        self.time_unit = b""
        self.time_word = b""


def parse_string_options(argv: list[bytes], first: int, is_set: bool) -> StringOptions:
    """Read the options of SET (is_set) or GETEX from argv[first:]; raises CommandError."""
    options = StringOptions()
    arguments = Arguments(argv, first)
    while arguments.has_more():
        word = arguments.keyword()
        if is_set and word == b"NX" and not options.is_xx:
            options.is_nx = True
        elif is_set and word == b"XX" and not options.is_nx:
            options.is_xx = True
        elif is_set and word == b"GET":
            options.is_get = True
        elif is_set and word == b"KEEPTTL" and not options.time_unit:
            options.keeps_ttl = True
        elif not is_set and word == b"PERSIST" and not options.time_unit:
            options.is_persist = True
        elif word in _TIMES and _may_give_time(options, word):
            options.time_unit = word
            options.time_word = arguments.word()
        else:
            raise arguments.syntax_error()
    return options


def _may_give_time(options: StringOptions, word: bytes) -> bool:
    """Say whether a time is allowed here; Redis lets the same unit be repeated."""
    return not options.keeps_ttl and not options.is_persist and options.time_unit in (b"", word)


def due_time(word: bytes, unit: bytes, now_ms: int, command: bytes) -> int:
    """Return the absolute time in milliseconds that `word` means; raises CommandError naming `command`."""
    is_seconds, is_relative = _TIMES[unit]
    number = integer(word)
    if number <= 0 or (is_seconds and number > INTEGER_MAX // 1000):
        raise CommandError(b"ERR invalid expire time in '%s' command" % command)
    due_ms = number * 1000 if is_seconds else number
    if is_relative:
        due_ms += now_ms
    if due_ms > INTEGER_MAX:
        raise CommandError(b"ERR invalid expire time in '%s' command" % command)
    return due_ms
