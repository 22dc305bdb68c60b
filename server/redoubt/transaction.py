"""What one client has queued since MULTI, summed up so that EXEC can be admitted as a whole.

EXEC asks for everything that any queued command asks for: so the union of their gates and flags is kept
while they are queued, and the words count against the limit of what a client may make the server hold. A
transaction that was refused a command is broken: it only waits for its EXEC or DISCARD, and queues nothing.

Filled by `redoubt.admission`, run by `redoubt.commands.transaction`. It runs and refuses nothing.
Source: the page on transactions in the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.resp.replies import ErrorReply

if TYPE_CHECKING:
    from redoubt.commands.declare import Row
    from redoubt.session import Session

# What a queued word costs beside its bytes.
WORD_BYTES: Final = 40


class Transaction:
    """The commands between MULTI and EXEC of one client."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.calls: list[list[bytes]] = []
        self.gates = 0
        self.flags = 0
        self.size_bytes = 0
        self.is_broken = False

    def queue(self, row: Row, argv: list[bytes]) -> None:
        """Add a command that has been admitted."""
        self.rows.append(row)
        self.calls.append(argv)
        self.gates |= row.gates
        self.flags |= row.flags
        self.size_bytes += WORD_BYTES * len(argv) + sum([len(word) for word in argv])


def refused(ctx: Session, row: Row | None, error: ErrorReply) -> ErrorReply:
    """Break the transaction under way because of a command that is refused; EXEC itself ends it.

    row: None for an unknown command. Returns what the client is told.
    """
    transaction = ctx.transaction
    if row is not None and row.name == "exec":
        ctx.end_transaction()
        text = error.text[4:] if error.text.startswith(b"ERR ") else error.text
        return ErrorReply(b"EXECABORT Transaction discarded because of: " + text)
    if transaction is not None:
        transaction.is_broken = True
    return error
