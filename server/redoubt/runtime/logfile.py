"""The log, in the look that tools for Redis read: pid:role date time level message.

    1:M 23 Nov 2026 16:14:00.123 * Server initialized

The parts log through the standard logger `redoubt`; here its levels become Redis's four signs: `.` debug,
`-` verbose, `*` notice, `#` warning. Used by `redoubt.main`. Nothing on the path of a command logs.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from redoubt.config import Config

# Between the standard levels, where Redis has one more.
VERBOSE: Final = 15
LEVELS: Final = {
    "debug": logging.DEBUG,
    "verbose": VERBOSE,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "nothing": logging.CRITICAL + 1,
}


class RedisFormatter(logging.Formatter):
    """Formats one record as Redis would."""

    def __init__(self) -> None:
        super().__init__()
        self.role: Callable[[], str] = lambda: "M"

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for a record."""
        at = time.strftime("%d %b %Y %H:%M:%S", time.localtime(record.created))
        sign = "."
        if record.levelno >= logging.WARNING:
            sign = "#"
        elif record.levelno >= logging.INFO:
            sign = "*"
        elif record.levelno >= VERBOSE:
            sign = "-"
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"{os.getpid()}:{self.role()} {at}.{int(record.msecs):03d} {sign} {text}"


class Log:
    """The opened log."""

    def __init__(self, logger: logging.Logger, formatter: RedisFormatter) -> None:
        self.logger = logger
        self.formatter = formatter

    def set_role(self, role: Callable[[], str]) -> None:
        """Have every line show the role that the server has then."""
        self.formatter.role = role

    def write(self, message: str, *words: object) -> None:
        """Log at level notice."""
        self.logger.info(message, *words)

    def warn(self, message: str, *words: object) -> None:
        """Log at level warning."""
        self.logger.warning(message, *words)


def open_log(config: Config) -> Log:
    """Open the log where the configuration says; raises OSError. `loglevel` may change later."""
    handler: logging.Handler = logging.StreamHandler(sys.stdout)
    if config.logfile:
        handler = logging.FileHandler(config.logfile)
    formatter = RedisFormatter()
    handler.setFormatter(formatter)
    logger = logging.getLogger("redoubt")
    logger.addHandler(handler)
    logger.propagate = False

    def apply_level() -> str:
        logger.setLevel(LEVELS[config.loglevel])
        return ""

    apply_level()
    config.on_change("loglevel", apply_level)
    return Log(logger, formatter)
