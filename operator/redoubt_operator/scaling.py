"""The number of shards changes: slots are planned, moved and, when people change their mind, moved back.

`spec.shards` may change at any time, also while an earlier change is under way. Each look does one step:

    the spec has changed    what works against the new number is cancelled; what still runs ends first
    a placement is needed   a new shard has no slots, one that leaves has some, or people asked for a balance:
                            everything is planned at once and written into `status.moves`
    moves are open          those that stand in the status that was read are begun, a few at a time; what
                            failed is tried again, ever more slowly
    nothing is open         the journal is emptied; retiring.py removes shards that were left empty

A move is one CLUSTER MIGRATESLOTS: the source owns the slots until the target does, so whatever dies in
between, each slot has an owner with its keys, and the next look reads from the maps how far it came.
Repairs come first: a shard in which anything is being changed begins no move.

Called by plan once for the cluster. placement.py computes, headroom.py refuses, moves.py remembers.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from redoubt_operator.actions import CancelMoves, MigrateSlots, RecordEvent
from redoubt_operator.conditions import rfc3339, seconds, slots_served
from redoubt_operator.draft import SOON_S, WAITING_S, Blocker, Draft, target
from redoubt_operator.headroom import too_full
from redoubt_operator.moves import Journal, Move, MoveState
from redoubt_operator.names import ANNOTATION_REBALANCE
from redoubt_operator.observation import SlotFigures, SlotMigration, SlotRange, Unknown
from redoubt_operator.open_slots import open_slots
from redoubt_operator.ownership import common, covers, overlap, without
from redoubt_operator.placement import SLOTS, moves_of, place, print_slots, slots_in, weigh
from redoubt_operator.replicas import is_outdated
from redoubt_operator.spec import ClusterSpec
from redoubt_operator.view import ClusterView, Server, Shard

LOOK_S: Final = 0.2  # between two looks at moves under way: a small one takes some tenths of a second
RETRY_FIRST_S: Final = 1.0
RETRY_MAX_S: Final = 60.0
FAILURES_TOLERATED: Final = 2  # one failover and one more; from then on people are told


def scale(spec: ClusterSpec, view: ClusterView, draft: Draft, now_s: float) -> None:
    """Take the next step towards the number of shards, and the balance, that people want."""
    journal = _updated(view, now_s)
    draft.journal = journal
    if view.shards_recorded is None or any(shard.is_founding for shard in view.shards):
        if not journal.unfinished:
            draft.journal = replace(journal, target_shards=spec.shards)
        return
    if journal.target_shards != spec.shards:
        draft.journal = _turned(spec, view, journal, draft)
    elif journal.unfinished:
        draft.journal = _advanced(spec, view, journal, draft, now_s)
    elif journal.moves:
        draft.journal = _finished(view, journal, draft, now_s)
    elif _needs_placement(view) or _is_requested(view, journal):
        draft.journal = _planned(spec, view, journal, draft, now_s)


# --- what the servers say about the journal ---------------------------------------------------------------


def _updated(view: ClusterView, now_s: float) -> Journal:
    """The journal with each open row as the maps and the sources have it now."""
    held = {shard.index: _held(view, shard) for shard in view.shards}
    moves = []
    for move in view.journal.moves:
        others = [
            one for index, own in held.items() if index not in (move.source, move.target) for one in own
        ]
        slots = without(move.slots, others)  # what people moved elsewhere meanwhile is none of ours any more
        if slots:
            moves.append(_seen(view, replace(move, slots=slots), held, now_s))
    return view.journal.with_moves(moves)


def _seen(view: ClusterView, move: Move, held: Mapping[int, tuple[SlotRange, ...]], now_s: float) -> Move:
    if covers(held.get(move.target, ()), move.slots):
        return replace(move, state=MoveState.MOVED, retry_at="")
    if move.source >= len(view.shards) or move.target >= len(view.shards):
        return move
    source = view.shards[move.source].master
    if source is None or isinstance(source.migrations, Unknown):
        return move
    rest = common(move.slots, held[move.source])
    matching = [one for one in source.migrations if one.is_export and overlap(one.slots, rest)]
    if any(one.is_active for one in matching):
        return replace(move, state=MoveState.MOVING)
    has_ended = move.state is MoveState.MOVING and bool(rest)
    if not has_ended or (matching and matching[0].state == "success"):
        return move  # never begun, or it has just arrived and the maps will say so
    return _failed(move, matching[0] if matching else None, now_s)


def _failed(move: Move, last: SlotMigration | None, now_s: float) -> Move:
    failures = move.failures + 1
    message = (
        f"{last.state}: {last.message}"
        if last is not None
        else "the source knows of no such move: it was not reached, or was replaced"
    )
    pause_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2.0 ** (failures - 1))
    return replace(
        move,
        state=MoveState.WAITING,
        failures=failures,
        retry_at=rfc3339(now_s + pause_s),
        message=message.rstrip(": "),
    )


def _held(view: ClusterView, shard: Shard) -> tuple[SlotRange, ...]:
    """The slots that members of the shard own by the servers' maps."""
    ids = sorted({server.node_id for server in shard.servers if server.node_id})
    return tuple(one for node_id in ids for one in view.owned.get(node_id, ()))


# --- the spec has changed ---------------------------------------------------------------------------------


def _turned(spec: ClusterSpec, view: ClusterView, journal: Journal, draft: Draft) -> Journal:
    """Begin nothing more for the old number; cancel what works against the new one; then forget the old."""
    is_running = False
    for shard in view.shards:
        master = shard.master
        if master is None or not master.exports:
            continue
        is_running = True
        if any(_works_against(spec, view, journal, shard, one) for one in master.exports):
            because = f"spec.shards is {spec.shards} now: moves from shard {shard.index} are cancelled"
            draft.do(CancelMoves(target(master), because, shard.index), LOOK_S)
    is_unsure = any(
        move.state is MoveState.MOVING and _is_unsure(view, move.source) for move in journal.unfinished
    )
    if is_running or is_unsure:
        draft.look_again(LOOK_S)
        return journal
    draft.look_again(SOON_S)
    return replace(journal, target_shards=spec.shards, moves=())


def _works_against(
    spec: ClusterSpec, view: ClusterView, journal: Journal, source: Shard, export: SlotMigration
) -> bool:
    """Whether a running move goes to a shard that is to leave, or empties one that stays after all."""
    to = next((one.shard for one in view.servers if one.node_id == export.target_id), None)
    was_leaving = journal.target_shards is not None and source.index >= journal.target_shards
    return (to is not None and to >= spec.shards) or (was_leaving and not source.is_leaving)


def _is_unsure(view: ClusterView, index: int) -> bool:
    """Whether a source that runs could not be asked whether it still moves slots."""
    master = view.shards[index].master if index < len(view.shards) else None
    return master is not None and isinstance(master.migrations, Unknown)


# --- moves are open ---------------------------------------------------------------------------------------


def _advanced(spec: ClusterSpec, view: ClusterView, journal: Journal, draft: Draft, now_s: float) -> Journal:
    """Begin open moves up to the limit."""
    draft.look_again(LOOK_S)
    written = {(move.source, move.target) for move in view.journal.moves}
    under_way = sum(move.state is MoveState.MOVING for move in journal.moves)
    moves = []
    for move in journal.moves:
        if move.state is MoveState.WAITING and move.failures > FAILURES_TOLERATED:
            draft.block(_fails(move))
        may_begin = (
            move.state is MoveState.WAITING
            and (move.source, move.target) in written
            and under_way < spec.update.moves_at_once
            and (seconds(move.retry_at) or 0.0) <= now_s
        )
        if may_begin and _begin(spec, view, move, draft):
            under_way += 1
            move = replace(move, state=MoveState.MOVING, retry_at="")
        moves.append(move)
    return journal.with_moves(moves)


def _begin(spec: ClusterSpec, view: ClusterView, move: Move, draft: Draft) -> bool:
    source, sink = view.shards[move.source], view.shards[move.target]
    if draft.is_busy(source.index) or draft.is_busy(sink.index):
        return False
    why_not = _why_not(spec, view, source, sink)
    if why_not:
        draft.block(
            Blocker(
                "MoveWaits",
                f"{move} wait: {why_not}",
                "the move begins by itself when that has ended",
                move.source,
                is_passing=not source.is_leaving,
            )
        )
        return False
    giver, taker = source.master, sink.master
    assert giver is not None and taker is not None
    if isinstance(giver.migrations, Unknown) or giver.exports or giver.knows(taker.node_id) is None:
        return False
    rest = common(move.slots, _held(view, source))
    if not rest:
        return False
    because = f"{move}: slots {print_slots(rest)}"
    draft.do(MigrateSlots(target(giver), rest, taker.node_id, because, source.index), LOOK_S)
    return True


def _why_not(spec: ClusterSpec, view: ClusterView, source: Shard, sink: Shard) -> str:
    """What keeps a move from beginning, or an empty text."""
    for shard in (source, sink):
        if shard.master is None or not shard.master.is_staying:
            return f"shard {shard.index} has no master that stays"
        if open_slots(shard.master):
            return f"{shard.master.pod.name} has slots open by CLUSTER SETSLOT"
    lacking = _replicas_lacking(spec, sink)
    if lacking:
        return lacking
    if source.is_leaving and not view.is_complete:
        return f"not everything was seen: {'; '.join(_unseen(view))}"
    return ""


def _replicas_lacking(spec: ClusterSpec, shard: Shard) -> str:
    """What is given to a shard shall at once be there twice, if people want replicas."""
    in_sync, wanted = len(shard.healthy_replicas), spec.replicas_per_shard
    return f"shard {shard.index} has {in_sync} of {wanted} replicas in sync" if in_sync < wanted else ""


def _unseen(view: ClusterView) -> tuple[str, ...]:
    return (*view.unseen, *(why for shard in view.shards for why in shard.missing_copies))


def _fails(move: Move) -> Blocker:
    return Blocker(
        "MoveFails",
        f"{move} failed {move.failures} times: {move.message}",
        "look at the logs of both masters and at the network between them; it is tried again by itself",
        move.source,
    )


def _finished(view: ClusterView, journal: Journal, draft: Draft, now_s: float) -> Journal:
    """All rows are over: tell people, and keep nothing."""
    slots = sum(move.slot_count for move in journal.moves)
    because = f"{slots} slots were moved in {len(journal.moves)} moves"
    draft.actions.append(RecordEvent("Normal", "SlotsMoved", because))
    draft.look_again(SOON_S)
    before = journal.rebalance
    if before is not None and before.get("result") == "Accepted":
        journal = _answered(view, journal, str(before.get("request")), "Done", because, draft, now_s)
    return journal.with_moves(())


# --- a placement is needed --------------------------------------------------------------------------------


def _needs_placement(view: ClusterView) -> bool:
    return any(shard.is_empty != shard.is_leaving for shard in view.shards)


def _is_requested(view: ClusterView, journal: Journal) -> bool:
    request = view.seen.meta.annotations.get(ANNOTATION_REBALANCE, "").strip()
    return bool(request) and (journal.rebalance or {}).get("request") != request


def _planned(spec: ClusterSpec, view: ClusterView, journal: Journal, draft: Draft, now_s: float) -> Journal:
    """Plan the final placement and write down its moves, or say what that waits for."""
    if _is_too_early(spec, view, draft):
        draft.look_again(WAITING_S)
        return journal
    masters = [shard.master for shard in view.shards if shard.master is not None and not shard.is_empty]
    draft.is_planning = True
    if not view.was_planning:
        draft.look_again(SOON_S)
        return journal  # the next look asks for what the slots hold
    # Figures of some shards only would make these seem heavier than the others.
    is_known = not any(isinstance(master.slot_figures, Unknown) for master in masters)
    figures = tuple(one for master in masters for one in _figures(master)) if is_known else ()
    owned = {shard.index: shard.slots for shard in view.shards if not shard.is_empty}
    staying = [shard.index for shard in view.shards if not shard.is_leaving]
    placed = place(owned, staying, weigh(figures))
    moves = moves_of(owned, placed)
    request = view.seen.meta.annotations.get(ANNOTATION_REBALANCE, "").strip()
    is_requested = _is_requested(view, journal) and not _needs_placement(view)
    full = too_full(view, moves, {one.slot: one for one in figures}, spec)
    if full:
        if is_requested:
            return _answered(view, journal, request, "Refused", full, draft, now_s)
        draft.block(
            Blocker(
                "NoHeadroom",
                full,
                "delete keys, raise the memory limit, or keep more shards",
                is_stalling=True,
            )
        )
        return journal
    keys = {one.slot: one.keys for one in figures}
    rows = tuple(
        Move(source, to, slots, keys=sum(keys.get(slot, 0) for slot in slots_in(slots)) if keys else None)
        for (source, to), slots in moves.items()
    )
    draft.look_again(SOON_S)
    if is_requested:
        count = sum(row.slot_count for row in rows)
        message = f"{count} slots move in {len(rows)} moves" if rows else "the slots are balanced already"
        result = "Accepted" if rows else "Done"
        journal = _answered(view, journal, request, result, message, draft, now_s)
    return journal.with_moves(rows)


def _is_too_early(spec: ClusterSpec, view: ClusterView, draft: Draft) -> bool:
    """Whether a placement cannot be planned yet; draft gets to know why where people can do something."""
    leaving = [shard for shard in view.shards if shard.is_leaving and not shard.is_empty]
    if leaving and not view.is_complete:
        draft.block(
            Blocker(
                "ScaleInWaits",
                f"shard {leaving[-1].index} cannot be removed while not everything is seen: "
                f"{'; '.join(_unseen(view))}",
                "every member has to answer; a pod that is certainly dead may be deleted",
                leaving[-1].index,
            )
        )
        return True
    if slots_served(view) != SLOTS or any(shard.is_retiring for shard in view.shards):
        return True
    for shard in view.shards:
        is_concerned = not shard.is_leaving or not shard.is_empty
        if is_concerned and not _is_idle(shard.master):
            return True
        if not shard.is_leaving and _replicas_lacking(spec, shard):
            return True
        if is_concerned and any(is_outdated(view, one) for one in shard.staying):
            return True
    return False


def _is_idle(master: Server | None) -> bool:
    """Whether a shard has a master that stays and moves nothing."""
    if master is None or master.status is None or not master.is_staying:
        return False
    return not master.status.exports and not master.status.imports


def _figures(master: Server) -> tuple[SlotFigures, ...]:
    return () if isinstance(master.slot_figures, Unknown) else master.slot_figures


def _answered(
    view: ClusterView,
    journal: Journal,
    request: str,
    result: str,
    message: str,
    draft: Draft,
    now_s: float,
) -> Journal:
    """What came of a request by annotation, as an Event and in `status.lastRebalance`."""
    told: dict[str, Any] = {
        "request": request,
        "result": result,
        "message": message,
        "at": rfc3339(now_s),
    }
    kind = "Warning" if result == "Refused" else "Normal"
    because = f"rebalance {request!r}: {message}"
    draft.actions.append(RecordEvent(kind, f"Rebalance{result}", because))  # type: ignore[arg-type]
    return replace(journal, rebalance=told)
