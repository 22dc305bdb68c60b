"""Switchovers that people ask for, by annotation `redoubt.dev/switchover: "<shard>[/<pod>] [token]"`.

Each value is handled once, also across the deaths of operators: the look that reads a new value decides to
whom the shard goes and writes that into `status.lastSwitchover` as Accepted; only a look that reads it there
acts, always towards the same pod, until that pod serves (Done) or it is clear that it will not (Failed).
What cannot be done is Refused at once, with the reason. To ask for the same again, change the token.

Called by plan after the repairs; status.py writes the row, news.py tells its change as an Event.
"""

from collections.abc import Mapping
from typing import Any, Final

from redoubt_operator.conditions import rfc3339, seconds
from redoubt_operator.draft import SOON_S, Draft
from redoubt_operator.heirs import best_heir, hand_over, in_step, is_on_leaving_node, why_not_in_step
from redoubt_operator.names import ANNOTATION_SWITCHOVER
from redoubt_operator.view import ClusterView, Server, Shard

PATIENCE_S: Final = 60.0  # three handovers' deadlines; whoever waits longer asks again
REQUEST_LENGTH_MAX: Final = 200  # of the annotation, as it is repeated in the status

ACCEPTED: Final = "Accepted"
DONE: Final = "Done"
REFUSED: Final = "Refused"
FAILED: Final = "Failed"

Row = Mapping[str, Any]


def switch_over(view: ClusterView, draft: Draft, now_s: float) -> None:
    """Take the next step of the switchover that is asked for, if it is not over."""
    request = view.seen.meta.annotations.get(ANNOTATION_SWITCHOVER, "").strip()[:REQUEST_LENGTH_MAX]
    last: Row = view.seen.status.get("lastSwitchover") or {}
    if last.get("result") == ACCEPTED:
        draft.switchover = _go_on(view, last, draft, now_s)
    elif request and last.get("request") != request:
        draft.switchover = _decide(view, request, draft, now_s)


def _decide(view: ClusterView, request: str, draft: Draft, now_s: float) -> Row | None:
    """Accept a new request or refuse it; None while something else is done in its shard."""
    where, _, wanted = request.split()[0].partition("/")
    index = int(where) if where.isdecimal() else len(view.shards)
    row: dict[str, Any] = {"request": request, "at": rfc3339(now_s)}
    if index >= len(view.shards):
        return row | {"result": REFUSED, "message": f"there is no shard {where}"}
    shard, row["shard"] = view.shards[index], index
    if draft.is_busy(index):
        draft.look_again(SOON_S)
        return None
    refusal = _refusal(view, shard, wanted)
    if refusal:
        return row | {"result": REFUSED, "message": refusal}
    assert shard.master is not None
    row["from"] = shard.master.pod.name
    heir = best_heir(view, _heirs(view, shard, wanted))
    if heir is None:
        row["to"] = wanted
        return row | {"result": DONE, "message": f"pod {wanted} is the master of shard {index} already"}
    draft.busy.add(index)
    draft.look_again(SOON_S)
    row["to"] = heir.pod.name
    message = f"shard {index} goes from {shard.master.pod.name} to {heir.pod.name}"
    return row | {"result": ACCEPTED, "message": message}


def _refusal(view: ClusterView, shard: Shard, wanted: str) -> str:
    """Why a request cannot be followed, or an empty text."""
    if shard.master is None:
        return f"shard {shard.index} has no master"
    if view.is_moving(shard.index):
        return f"slots of shard {shard.index} are moving"
    pod = next((one for one in shard.servers if one.pod.name == wanted), None)
    if wanted and pod is None:
        return f"shard {shard.index} has no pod {wanted}"
    if pod is shard.master:
        return ""
    if pod is not None and pod not in in_step(shard):
        return f"pod {wanted} {why_not_in_step(shard, pod)}"
    if not _heirs(view, shard, wanted):
        return f"no replica of shard {shard.index} is in sync"
    return ""


def _heirs(view: ClusterView, shard: Shard, wanted: str) -> list[Server]:
    """Who may take over: the pod that is named, else any in step, preferably not on a cordoned node."""
    able = [one for one in in_step(shard) if wanted in ("", one.pod.name)]
    return [one for one in able if not is_on_leaving_node(view, one)] or able


def _go_on(view: ClusterView, row: Row, draft: Draft, now_s: float) -> Row:
    """Act on an accepted request until it is over."""
    index, heir_name = int(row.get("shard", 0)), str(row.get("to", ""))
    draft.look_again(SOON_S)
    if index >= len(view.shards):
        return _over(row, FAILED, f"there is no shard {index} any more", now_s)
    shard = view.shards[index]
    master = shard.master
    if master is not None and master.pod.name == heir_name:
        return _over(row, DONE, f"{heir_name} is the master of shard {index} now", now_s)
    if master is not None and master.pod.name != row.get("from"):
        return _over(row, FAILED, f"{master.pod.name} became the master of shard {index}", now_s)
    heir = next((one for one in shard.servers if one.pod.name == heir_name), None)
    accepted_s = seconds(str(row.get("at", "")))
    if heir is None or accepted_s is None or now_s - accepted_s > PATIENCE_S:
        return _over(row, FAILED, f"pod {heir_name} {_why_not(shard, heir)}", now_s)
    if master is not None and heir in in_step(shard) and not draft.is_busy(index):
        hand_over(shard, heir, f"asked for by annotation: {row.get('request')}", draft)
    draft.busy.add(index)
    return row


def _why_not(shard: Shard, heir: Server | None) -> str:
    if heir is None:
        return "does not exist any more"
    if heir in in_step(shard):
        return f"is in sync, but the handover did not succeed within {int(PATIENCE_S)} s"
    return why_not_in_step(shard, heir)


def _over(row: Row, result: str, message: str, now_s: float) -> Row:
    return {**row, "result": result, "message": message, "at": rfc3339(now_s)}
