"""The journal of slot moves: what was decided to move where, as `status.moves` keeps it.

A placement is planned once, as a whole, and written down; from then on each look compares the rows with what
the servers' maps say. The maps are the truth about where a slot is, the journal about what was decided, so an
operator that dies anywhere goes on with the same moves. A row is begun only when it stands in the status that
was read; a row whose slots the target owns is over, whoever moved them.

Read by view.py, advanced by scaling.py, written by status.py. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from redoubt_operator.observation import SlotRange
from redoubt_operator.placement import print_slots, read_slots

PLANS_MOVES: Final = "PlansMoves"
"""Reason of condition Reconciling while a placement is planned."""


class MoveState(StrEnum):
    """How far a move is."""

    WAITING = "Waiting"  # to be begun, or to be begun again
    MOVING = "Moving"  # ordered; the source sends
    MOVED = "Moved"  # the target owns the slots


@dataclass(frozen=True, slots=True)
class Move:
    """One row: slots that go from one shard to another."""

    source: int
    target: int
    slots: tuple[SlotRange, ...]
    state: MoveState = MoveState.WAITING
    keys: int | None = None  # that were in the slots when the move was planned
    failures: int = 0
    retry_at: str = ""  # RFC 3339; set after a failure
    message: str = ""  # why it failed last

    @property
    def is_over(self) -> bool:
        return self.state is MoveState.MOVED

    @property
    def slot_count(self) -> int:
        return sum(len(one) for one in self.slots)

    def __str__(self) -> str:
        return f"{self.slot_count} slots from shard {self.source} to shard {self.target}"


@dataclass(frozen=True, slots=True)
class Journal:
    """What was decided about the placement of slots."""

    target_shards: int | None = None  # the number of shards that the moves lead to
    moves: tuple[Move, ...] = ()
    rebalance: Mapping[str, Any] | None = None  # the last request by annotation, and its result

    @property
    def unfinished(self) -> tuple[Move, ...]:
        return tuple(move for move in self.moves if not move.is_over)

    def with_moves(self, moves: Iterable[Move]) -> "Journal":
        return replace(self, moves=tuple(moves))


def read_journal(status: Mapping[str, Any]) -> Journal:
    """The journal as the last status has it; rows that cannot be read are left out."""
    target = status.get("targetShards")
    rebalance = status.get("lastRebalance")
    return Journal(
        target_shards=target if isinstance(target, int) and target > 0 else None,
        moves=tuple(move for row in status.get("moves") or () if (move := _read_move(row)) is not None),
        rebalance=rebalance if isinstance(rebalance, Mapping) else None,
    )


def is_planning(status: Mapping[str, Any]) -> bool:
    """Whether the last look left the planning of a placement to this one, which asks what the slots hold."""
    conditions = status.get("conditions") or ()
    return any(isinstance(one, Mapping) and one.get("reason") == PLANS_MOVES for one in conditions)


def is_moving(status: Mapping[str, Any]) -> bool:
    """Whether the sources have to be asked about moves: some are open, or the spec may turn them round."""
    return bool(status.get("moves"))


def print_move(move: Move) -> dict[str, Any]:
    """One row of `status.moves`."""
    row: dict[str, Any] = {
        "from": move.source,
        "to": move.target,
        "slots": print_slots(move.slots),
        "count": move.slot_count,
        "state": move.state.value,
    }
    if move.keys is not None:
        row["keys"] = move.keys
    if move.failures:
        row["failures"] = move.failures
        row["message"] = move.message
    if move.retry_at:
        row["retryAt"] = move.retry_at
    return row


def progress(moves: Iterable[Move]) -> str:
    """`moving 1365 slots from shard 0 to shard 3 (2 of 3 moves done)`, or an empty text."""
    rows = tuple(moves)
    open_rows = [move for move in rows if not move.is_over]
    if not open_rows:
        return ""
    under_way = [move for move in open_rows if move.state is MoveState.MOVING]
    done = f"({len(rows) - len(open_rows)} of {len(rows)} moves done)"
    if len(under_way) == 1:
        return f"moving {under_way[0]} {done}"
    slots = sum(move.slot_count for move in under_way or open_rows)
    if under_way:
        return f"moving {slots} slots in {len(under_way)} moves {done}"
    return f"{slots} slots are to move {done}"


def _read_move(row: Any) -> Move | None:
    if not isinstance(row, Mapping):
        return None
    source, target, slots = row.get("from"), row.get("to"), read_slots(str(row.get("slots", "")))
    if not isinstance(source, int) or not isinstance(target, int) or not slots:
        return None
    state = str(row.get("state"))
    return Move(
        source=source,
        target=target,
        slots=slots,
        state=MoveState(state) if state in list(MoveState) else MoveState.WAITING,
        keys=row.get("keys"),
        failures=int(row.get("failures") or 0),
        retry_at=str(row.get("retryAt") or ""),
        message=str(row.get("message") or ""),
    )
