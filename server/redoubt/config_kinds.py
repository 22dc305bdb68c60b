"""The kinds of values that a directive can have: how each is read from words and written back.

A kind turns the words after a directive's name into a typed value and back into the one string that CONFIG
GET shows; reading raises ValueError with Redis's text. `SavePoints` and `OutputLimits` read several words.

Used only by `redoubt.config`, whose table says which directive has which kind. Nothing here knows the
directives. Source of the syntax: the comments of redis.conf and the documentation of CONFIG SET.
"""

from __future__ import annotations

from typing import Any, Final

_UNITS: Final = {
    "": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 1000**2, "mb": 1 << 20, "g": 1000**3, "gb": 1 << 30,
}  # fmt: skip
INTEGER_MAX: Final = (1 << 63) - 1


class Kind:
    """How the words of one directive become a value."""

    # Says in the documentation what may stand there.
    form = "text"

    def parse(self, words: list[str]) -> Any:
        """Read the value or raise ValueError with Redis's text."""
        if len(words) != 1:
            raise ValueError("wrong number of arguments")
        return self.parse_word(words[0])

    def parse_word(self, word: str) -> Any:
        """Read the value from the only word."""
        return word

    def render(self, value: Any) -> str:
        """Write the value as CONFIG GET shows it."""
        return str(value)

    def split(self, text: str) -> list[str]:
        """Split the one string of CONFIG SET into words as a configuration line would have them."""
        return [text]


class Text(Kind):
    """Any string."""


class Secret(Kind):
    """A string that no log and no documentation may show."""

    form = "text (secret)"


class FileName(Kind):
    """The name of a file in the data directory."""

    form = "file name"

    def parse_word(self, word: str) -> str:
        """Read the value from the only word."""
        if "/" in word or not word:
            raise ValueError("dbfilename can't be a path, just a filename")
        return word


class Integer(Kind):
    """A decimal integer within bounds."""

    def __init__(self, least: int = 0, most: int = INTEGER_MAX) -> None:
        self.least = least
        self.most = most
        self.form = "integer" if most == INTEGER_MAX else f"{least}-{most}"

    def parse_word(self, word: str) -> int:
        """Read a decimal integer."""
        digits = word[1:] if word.startswith("-") else word
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError("argument couldn't be parsed into an integer")
        return self._bounded(int(word))

    def _bounded(self, value: int) -> int:
        if not self.least <= value <= self.most:
            raise ValueError(f"argument must be between {self.least} and {self.most} inclusive")
        return value


class Memory(Integer):
    """Bytes, with an optional unit: 1k is 1000, 1kb is 1024."""

    def __init__(self, least: int = 0, most: int = INTEGER_MAX) -> None:
        super().__init__(least, most)
        self.form = "bytes (kb, mb, gb)"

    def parse_word(self, word: str) -> int:
        """Read the value from the only word."""
        value = memory_size(word)
        if value is None:
            raise ValueError("argument must be a memory value")
        return self._bounded(value)


class MemoryOrShare(Kind):
    """Bytes with an optional unit, or a percentage; the value is negative for a percentage."""

    form = "bytes (kb, mb, gb) or percentage"

    def parse_word(self, word: str) -> int:
        """Read the value from the only word."""
        if word.endswith("%"):
            digits = word[:-1]
            if not (digits.isascii() and digits.isdigit()):
                raise ValueError("argument must be a memory or percent value")
            if int(digits) > 100:
                raise ValueError("percentage argument must be less or equal to 100")
            return -int(digits)
        value = memory_size(word)
        if value is None:
            raise ValueError("argument must be a memory or percent value")
        return value

    def render(self, value: Any) -> str:
        """Write the value as CONFIG GET shows it."""
        return f"{-value}%" if value < 0 else str(value)


class Octal(Integer):
    """A file mode."""

    form = "octal"

    def parse_word(self, word: str) -> int:
        """Read the value from the only word."""
        if not word or any(digit not in "01234567" for digit in word):
            raise ValueError("argument couldn't be parsed into an integer")
        return self._bounded(int(word, 8))

    def render(self, value: Any) -> str:
        """Write the value as CONFIG GET shows it."""
        return f"{value:o}"


class YesNo(Kind):
    """A switch."""

    form = "yes, no"

    def parse_word(self, word: str) -> bool:
        """Read the value from the only word."""
        if word.lower() not in ("yes", "no"):
            raise ValueError("argument must be 'yes' or 'no'")
        return word.lower() == "yes"

    def render(self, value: Any) -> str:
        """Write the value as CONFIG GET shows it."""
        return "yes" if value else "no"


class Choice(Kind):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.form = ", ".join(words)

    def parse_word(self, word: str) -> str:
        """Read the value from the only word."""
        if word.lower() not in self.words:
            raise ValueError("argument(s) must be one of the following: " + ", ".join(self.words))
        return word.lower()


class Words(Kind):
    """A list of words, such as addresses; the bare empty string is the empty list."""

    form = "words"

    def __init__(self, count_max: int = 16) -> None:
        self.count_max = count_max

    def parse(self, words: list[str]) -> list[str]:
        """Read the value."""
        if len(words) > self.count_max:
            raise ValueError("Too many bind addresses specified.")
        return [] if words == [""] else words

    def render(self, value: Any) -> str:
        """Write the value as CONFIG GET shows it."""
        return " ".join(value)

    def split(self, text: str) -> list[str]:
        """Split the one string of CONFIG SET."""
        return text.split() or [""]


class EventLetters(Kind):
    """Classes of keyspace events, a letter each; shown in Redis's order, and A for all that it stands for."""

    form = "letters"
    _ALL = "g$lshzxetd"
    _OTHERS = "nKEm"

    def parse_word(self, word: str) -> str:
        """Read the letters."""
        if any(letter not in self._ALL + self._OTHERS + "A" for letter in word):
            raise ValueError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
        letters = word.replace("A", self._ALL)
        shown = "".join([letter for letter in self._ALL if letter in letters])
        return shown.replace(self._ALL, "A") + "".join([one for one in self._OTHERS if one in letters])


class Address(Kind):
    """A host and a port, or `no one`; the value is the pair, with port 0 for nobody."""

    form = "host port"

    def parse(self, words: list[str]) -> tuple[str, int]:
        """Read the value."""
        if len(words) != 2:
            raise ValueError("wrong number of arguments")
        if [word.lower() for word in words] == ["no", "one"]:
            return ("", 0)
        if not words[1].isdigit() or not 0 < int(words[1]) < 65536:
            raise ValueError("Invalid master port")
        return (words[0], int(words[1]))

    def render(self, value: Any) -> str:
        """Write the value as CONFIG GET shows it."""
        host, port = value
        return f"{host} {port}" if port else ""

    def split(self, text: str) -> list[str]:
        """Split the one string of CONFIG SET."""
        return text.split()


class SavePoints(Kind):
    """When to snapshot: pairs of seconds and changes; the empty string is never."""

    form = "seconds changes ..."

    def parse(self, words: list[str]) -> list[tuple[int, int]]:
        """Read the value."""
        if words == [""]:
            return []
        if len(words) % 2 or not words:
            raise ValueError("Invalid save parameters")
        numbers = [int(word) if word.isascii() and word.isdigit() else -1 for word in words]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        if any(seconds < 1 or changes < 0 for seconds, changes in points):
            raise ValueError("Invalid save parameters")
        return points

    def render(self, value: Any) -> str:
        """Write the value as CONFIG GET shows it."""
        return " ".join(f"{seconds} {changes}" for seconds, changes in value)

    def split(self, text: str) -> list[str]:
        """Split the one string of CONFIG SET."""
        return text.split() or [""]


class OutputLimit:
    """How much unsent output a class of clients may pile up: at once, and for how long a lesser amount."""

    def __init__(self, hard_bytes: int, soft_bytes: int, soft_seconds: int) -> None:
        self.hard_bytes = hard_bytes
        self.soft_bytes = soft_bytes
        self.soft_seconds = soft_seconds


class OutputLimits(Kind):
    """Output limits by class: `class hard soft seconds`, repeated; classes not named keep theirs."""

    form = "class hard soft seconds ..."

    def parse(self, words: list[str]) -> dict[str, OutputLimit]:
        """Read the value."""
        if len(words) % 4 or not words:
            raise ValueError("Wrong number of arguments in buffer limit configuration.")
        limits = {}
        for at in range(0, len(words), 4):
            name = {"slave": "replica"}.get(words[at].lower(), words[at].lower())
            if name not in ("normal", "replica", "pubsub"):
                raise ValueError("Invalid client class specified in buffer limit configuration.")
            hard, soft = memory_size(words[at + 1]), memory_size(words[at + 2])
            if hard is None or soft is None or not words[at + 3].isdigit():
                raise ValueError("Error in hard, soft or soft_seconds setting in buffer limit configuration.")
            limits[name] = OutputLimit(hard, soft, int(words[at + 3]))
        return limits

    def render(self, value: Any) -> str:
        """Write the value as CONFIG GET shows it."""
        shown = {"replica": "slave"}  # Redis shows the old name
        return " ".join(
            f"{shown.get(name, name)} {limit.hard_bytes} {limit.soft_bytes} {limit.soft_seconds}"
            for name, limit in value.items()
        )

    def split(self, text: str) -> list[str]:
        """Split the one string of CONFIG SET."""
        return text.split()


def memory_size(word: str) -> int | None:
    """Read an amount of bytes with its unit; None if it is none."""
    digits = word.rstrip("bBkKmMgG")
    unit = word[len(digits) :].lower()
    if not (digits.isascii() and digits.isdigit()) or unit not in _UNITS:
        return None
    return int(digits) * _UNITS[unit]
