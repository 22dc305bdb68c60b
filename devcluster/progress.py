"""How long steps are shown: one line rewritten in place on a terminal, now and then a plain line elsewhere.

A build takes minutes and a start seconds; a person wants to see that it moves, a CI log wants few lines.
Used by the toolchain and by `up`. It measures nothing but its own elapsed time and never fails because
output was closed.
"""

from __future__ import annotations

import sys
import time
from typing import Final, TextIO

PLAIN_INTERVAL_S: Final = 10.0
TERMINAL_INTERVAL_S: Final = 0.2


class Progress:
    """One step under way; `update` may be called as often as there is news."""

    def __init__(self, title: str, out: TextIO | None = None) -> None:
        self._title = title
        self._out = out or sys.stderr
        self._is_terminal = self._out.isatty()
        self._began = time.monotonic()
        self._shown = 0.0 if self._is_terminal else self._began
        if not self._is_terminal:
            self._line(f"{title} ...")

    def update(self, detail: str) -> None:
        """Show `detail` unless something was shown a moment ago."""
        now = time.monotonic()
        interval = TERMINAL_INTERVAL_S if self._is_terminal else PLAIN_INTERVAL_S
        if now - self._shown < interval:
            return
        self._shown = now
        text = f"{self._title}: {detail} ({now - self._began:.0f} s)"
        if self._is_terminal:
            self._write(f"\r\x1b[K{text[:110]}")
        else:
            self._line(text)

    def done(self, result: str = "done") -> None:
        """End the step with its result and what it took."""
        text = f"{self._title}: {result} ({time.monotonic() - self._began:.1f} s)"
        self._write(f"\r\x1b[K{text}\n" if self._is_terminal else f"{text}\n")

    def _line(self, text: str) -> None:
        self._write(text + "\n")

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            pass
