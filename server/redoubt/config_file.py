"""Reading the configuration at the start: redis.conf syntax, includes, `--directive value` arguments.

    redoubt-server [file.conf] [--directive word ...] ...

The file comes first, the arguments override it. Each line is a directive and its words, quoted as in Redis;
`include` reads another file in its place. Anything that is unknown or malformed ends the start: a server that
runs with a configuration other than the written one is worse than none.

Called by `redoubt.main` and by tests. It sets values in a `Config` and does nothing else; files are read
through `config.read_text`. Source: the comments of redis.conf; Redis 7's rules for arguments.
"""

from __future__ import annotations

from typing import Final

from redoubt.config import DIRECTIVES, Config, ConfigError
from redoubt.resp.inline import split_words
from redoubt.version import REDOUBT_VERSION

INCLUDE_DEPTH_MAX: Final = 16  # a file that includes itself must end somewhere
BAD_DIRECTIVE: Final = "Bad directive or wrong number of arguments"


class FatalConfigError(Exception):
    """The start must end; the text is what standard error shows."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def _at(number: int, line: str, reason: str) -> FatalConfigError:
    return FatalConfigError(
        f"\n*** FATAL CONFIG FILE ERROR (Redoubt {REDOUBT_VERSION}) ***\n"
        f"Reading the configuration file, at line {number}\n>>> '{line}'\n{reason}"
    )


class _Line:
    """One directive with its words and where it stood."""

    def __init__(self, number: int, text: str, words: list[str]) -> None:
        self.number = number
        self.text = text
        self.words = words


def load(config: Config, arguments: list[str]) -> None:
    """Set `config` from the words after the program's name; raises FatalConfigError."""
    lines: list[_Line] = []
    if arguments and not arguments[0].startswith("--"):
        path = arguments[0]
        config.file_path = path
        lines += _read(config, path, 0)
        arguments = arguments[1:]
    lines += _from_arguments(arguments, len(lines))
    _apply(config, lines)
    _check_together(config, lines)


def _read(config: Config, path: str, depth: int) -> list[_Line]:
    """Read the lines of a file, with those that it includes in their places."""
    if depth > INCLUDE_DEPTH_MAX:
        raise FatalConfigError(f"Fatal error, config files include one another: '{path}'")
    try:
        text = config.read_text(path)
    except OSError as error:
        raise FatalConfigError(f"Fatal error, can't open config file '{path}': {error.strerror}") from None
    except UnicodeDecodeError:
        raise FatalConfigError(f"Fatal error, config file '{path}' is not UTF-8") from None
    lines: list[_Line] = []
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip(" \t\r\n")
        if not stripped or stripped.startswith("#"):
            continue
        words = _words(number, stripped)
        if not words:  # nothing but the blanks that quoting knows
            continue
        if words[0].lower() == "include" and len(words) == 2:
            lines += _read(config, words[1], depth + 1)
        else:
            lines.append(_Line(number, stripped, words))
    return lines


def _words(number: int, line: str) -> list[str]:
    words = split_words(line.encode("utf-8", "surrogateescape"))
    if words is None:
        raise _at(number, line, "Unbalanced quotes in configuration line")
    return [word.decode("utf-8", "surrogateescape") for word in words]


def _from_arguments(arguments: list[str], number: int) -> list[_Line]:
    """Make a line of each `--directive` and the words up to the next one."""
    lines: list[_Line] = []
    for argument in arguments:
        if argument.startswith("--") and len(argument) > 2:
            number += 1
            lines.append(_Line(number, argument[2:], [argument[2:]]))
        elif lines:
            lines[-1].words.append(argument)
            lines[-1].text += f' "{argument}"'
        else:
            raise _at(number + 1, argument, BAD_DIRECTIVE)
    return lines


def _apply(config: Config, lines: list[_Line]) -> None:
    has_save = False
    for line in lines:
        name = line.words[0].lower()
        directive = DIRECTIVES.get(name)
        words = line.words[1:]
        if name == "user" and words:
            _add_user(config, line)
            continue
        if directive is None:
            raise _at(line.number, line.text, BAD_DIRECTIVE)
        if not words:
            raise _at(line.number, line.text, "wrong number of arguments")
        if len(words) == 1:
            words = directive.kind.split(words[0])
        if name == "save" and words != [""]:
            # The first line replaces the defaults, later ones add to it.
            words = [*config.show("save").split(), *words] if has_save else words
            has_save = True
        try:
            config.assign([(name, words)], is_start=True)
        except ConfigError as error:
            raise _at(line.number, line.text, error.text) from None


def _add_user(config: Config, line: _Line) -> None:
    """Keep a `user` line for when the commands that its rules name are known (`redoubt.access.users`)."""
    if any(words[0] == line.words[1] for words in config.users):
        raise _at(
            line.number, line.text, "Duplicate user found. A user can only be defined once in config files"
        )
    config.users.append(line.words[1:])


def _check_together(config: Config, lines: list[_Line]) -> None:
    """Refuse what is right alone and wrong together."""
    if config.cluster_enabled and config.replicaof[1]:
        _refuse(lines, "replicaof", "replicaof directive not allowed in cluster mode")
    if config.await_role and not config.cluster_enabled:
        _refuse(lines, "await-role", "await-role needs cluster-enabled yes")


def _refuse(lines: list[_Line], name: str, reason: str) -> None:
    for line in lines:
        directive = DIRECTIVES[line.words[0].lower()]
        if directive.name == name:
            raise _at(line.number, line.text, reason)
