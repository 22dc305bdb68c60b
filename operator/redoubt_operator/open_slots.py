"""Slots that somebody left open: CLUSTER SETSLOT MIGRATING or IMPORTING without its end.

A reshard key by key that died half-way leaves a slot open on its source, on its target or on both, some of
its keys here and some there. Such a slot answers with redirections for ever, and no move can begin. People
who reshard by hand have slots open, too, for a moment each; so only what stays open for a minute is closed:
the keys that had gone ahead go back to the slot's owner, and then both sides forget it. Nothing is dropped
and no slot changes its owner.

Called by plan once for the cluster. What is open and since when stands in `status.openSlots`.
"""

from collections.abc import Mapping
from typing import Any, Final

from redoubt_operator.actions import CloseSlot
from redoubt_operator.conditions import rfc3339, seconds
from redoubt_operator.draft import WAITING_S, Blocker, Draft, target
from redoubt_operator.view import ClusterView, Server

PATIENCE_S: Final = 60.0
CLOSED_AT_ONCE_MAX: Final = 16  # of one server in one look, so that its lane stays short
SHOWN_MAX: Final = 100


def close_slots(view: ClusterView, draft: Draft, now_s: float) -> None:
    """Close slots that have been open for too long; note those that are open."""
    before = {
        (str(row.get("pod")), str(row.get("slot"))): str(row.get("since"))
        for row in view.seen.status.get("openSlots") or ()
        if isinstance(row, Mapping)
    }
    rows: list[dict[str, Any]] = []
    importing = {slot for one in view.servers for slot, is_import in open_slots(one) if is_import}
    for server in view.servers:
        ripe = []
        for slot, is_import in open_slots(server):
            since = before.get((server.pod.name, str(slot)), rfc3339(now_s))
            rows.append({"pod": server.pod.name, "slot": slot, "since": since})
            # The side that imports first: it may hold keys that the owner does not have.
            if now_s - (seconds(since) or now_s) >= PATIENCE_S and (is_import or slot not in importing):
                ripe.append((slot, is_import))
        _close(view, server, ripe[:CLOSED_AT_ONCE_MAX], draft)
    draft.open_slots = tuple(rows[:SHOWN_MAX])
    if rows:
        draft.look_again(WAITING_S)


def open_slots(server: Server) -> tuple[tuple[int, bool], ...]:
    """The slots that a master has open, and whether it imports them."""
    mine = server.knows(server.node_id)
    if mine is None or not mine.is_master:
        return ()
    found = []
    for text in mine.open_slots:  # [93->-id] leaves, [93-<-id] comes
        number, _, rest = text.strip("[]").partition("-")
        if number.isdigit():
            found.append((int(number), rest.startswith("<")))
    return tuple(found)


def _close(view: ClusterView, server: Server, slots: list[tuple[int, bool]], draft: Draft) -> None:
    if not slots or draft.is_busy(server.shard):
        return
    for slot, is_import in slots:
        owner = next(
            (
                shard.master
                for shard in view.shards
                if shard.master is not None and any(one.first <= slot <= one.last for one in shard.slots)
            ),
            None,
        )
        if owner is None:
            continue
        because = f"slot {slot} has been open on {server.pod.name} for {int(PATIENCE_S)} s or more"
        takes_back = target(owner) if is_import and owner is not server else None
        draft.do(CloseSlot(target(server), slot, takes_back, because, server.shard), WAITING_S)
    draft.block(
        Blocker(
            "SlotsOpen",
            f"{len(slots)} slots were left open on {server.pod.name}, the first is {slots[0][0]}",
            "they are closed by the operator; if that fails for long, see `redis-cli --cluster check`",
            server.shard,
        )
    )
