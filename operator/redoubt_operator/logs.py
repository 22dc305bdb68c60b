"""One event, one line: time, level, what happened, then `key=value` pairs that machines can read.

    2026-01-31T12:00:00.123Z info CreatePod cluster=shop/cache shard=2 pod=cache-2-0 because="shard 2 has ..."

A traceback is one pair, too, with its line ends escaped, so that `grep` finds whole events. Our modules log
with `extra=`; messages of libraries pass through as text, and the chatter of kopf below a warning is left
out. `main.py` calls `configure` once.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Final

OURS: Final = "redoubt_operator"
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LineFormatter(logging.Formatter):
    """Formats a record as one line."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        parts = [f"{at}Z", record.levelname.lower()]
        is_ours = record.name.startswith(OURS)
        if not is_ours:
            parts.append(f"{record.name}:")
        parts.append(record.getMessage().replace("\n", "\\n"))
        if is_ours:
            extras = {name: value for name, value in vars(record).items() if name not in _STANDARD}
            parts += [f"{name}={_word(value)}" for name, value in extras.items() if value is not None]
        if record.exc_info:
            parts.append(f"trace={_word(self.formatException(record.exc_info))}")
        return " ".join(parts)


def _word(value: object) -> str:
    """Write a value as it is when it is one plain word, else quoted."""
    text = str(value)
    is_plain = text != "" and all(character.isalnum() or character in "-_./:+%[]" for character in text)
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def configure(level: str) -> None:
    """Log to standard error from `level` on."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in ("kopf", "asyncio", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
