"""Broken pods: those that will never run again, those stuck before their start, those waiting in back-off.

Kubernetes restarts containers in place and that is usually enough. Three cases need a hand: a pod that is
finished or whose node is gone is deleted, so that its place can be filled; a pod of a withdrawn revision that
cannot start is deleted, so that a bad roll can be taken back; and a container that ran well, was killed and
now sits out a back-off is replaced with its pod when another member serves. Everything else is reported.

Called by plan for each shard. It never deletes a serving master, and no volume.
"""

from typing import Final

from redoubt_operator.actions import DeletePod
from redoubt_operator.draft import WAITING_S, Blocker, Draft
from redoubt_operator.observation import ContainerState, Termination, Unknown
from redoubt_operator.view import ClusterView, Fate, Server, Shard

BACK_OFF: Final = "CrashLoopBackOff"
RAN_WELL_S: Final = 10.0  # a run this long was no crash at start (Kubernetes: the first back-off is 10 s)
# Who is killed from outside (SIGKILL, but not for its memory) did not crash, once it had got to its work.
# Shorter runs and all others would be started again and again without the pauses that back-off is for.
RAN_UNTIL_KILLED_S: Final = 2.0
KILLED_CODE: Final = 137  # 128 + SIGKILL
OUT_OF_MEMORY: Final = "OOMKilled"
RECOVERED_S: Final = 60.0  # after a crash a container that runs this long is taken to be well again
STUCK_S: Final = 5.0  # a younger pod may merely be ahead of its node, its volume or its image
SILENCE_S: Final = 5.0  # an answer that is missing for longer is reported

CREATING: Final = "ContainerCreating"
STUCK: Final = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)


def keep_up(view: ClusterView, shard: Shard, draft: Draft, now_s: float) -> None:
    """Delete the pods of a shard that only a new pod can replace, and report those that are stuck."""
    for server in shard.servers:
        match server.fate:
            case Fate.LOST:
                _delete_lost(view, server, draft)
            case Fate.STARTING:
                _report_stuck(view, server, draft, now_s)
            case Fate.DEAD:
                _end_back_off(view, shard, server, draft)
            case Fate.SILENT:
                _report_silent(view, shard, server, draft, now_s)
            case Fate.SEEN:
                pass


def stuck_reason(server: Server) -> str:
    """Why a pod cannot start, or an empty text while nothing speaks against it."""
    pod = server.pod
    if pod.unschedulable:
        return f"cannot be scheduled: {pod.unschedulable}"
    if pod.container.state is ContainerState.WAITING and pod.container.reason in STUCK:
        return f"{pod.container.reason}: {pod.container.message or 'no message'}"
    return ""


def _delete_lost(view: ClusterView, server: Server, draft: Draft) -> None:
    """Delete at once, also what terminates already: nobody is there to be graceful with."""
    pod, host = server.pod, view.host(server)
    if pod.is_finished:
        because = f"pod {pod.name} is {pod.phase.value} ({pod.reason or 'no reason given'})"
    else:
        what = "is deleted" if host is None else "is out of service"
        because = f"node {pod.node} of pod {pod.name} {what}"
    draft.do(_delete(server, because), WAITING_S)


def _report_stuck(view: ClusterView, server: Server, draft: Draft, now_s: float) -> None:
    reason = stuck_reason(server)
    if not reason and server.pod.revision != view.revision and server.pod.container.reason == CREATING:
        # A Secret that does not exist keeps a pod here for ever, and the kubelet says so in Events only. Of
        # the revision that is wanted it may yet come; the pod of another one has nothing to lose.
        reason = "its container is not created"
    if not reason or server.pod.is_terminating:
        return
    if now_s - server.pod.created_at_s < STUCK_S:
        draft.look_again(WAITING_S)
        return
    if server.pod.revision != view.revision:
        because = f"pod {server.pod.name} of a withdrawn revision cannot start ({reason})"
        draft.do(_delete(server, because), WAITING_S)
        return
    hint = (
        "make room, or change placement, resources or storage"
        if server.pod.unschedulable
        else ("correct spec.image, the image's registry, or the objects that the pod mounts")
    )
    draft.block(
        Blocker(
            "PodCannotStart",
            f"pod {server.pod.name} {reason}",
            hint,
            server.shard,
            is_stalling=True,
        )
    )


def crash_reason(server: Server, now_s: float) -> str:
    """How a server crashed, when it has not run well since; an empty text when it did not.

    Who was killed from outside after it got to its work did not crash; who ran out of memory did.
    """
    container = server.pod.container
    last = container.last_termination
    if last is None or (last.reason != OUT_OF_MEMORY and _ran_well(last)):
        return ""
    runs_since_s = container.started_at_s if container.state is ContainerState.RUNNING else None
    if runs_since_s is not None and now_s - runs_since_s >= RECOVERED_S:
        return ""
    return f"crashes: exit code {last.exit_code} ({last.reason}), {container.restart_count} restarts"


def _end_back_off(view: ClusterView, shard: Shard, server: Server, draft: Draft) -> None:
    container, last = server.pod.container, server.pod.container.last_termination
    draft.look_again(WAITING_S)
    if container.reason != BACK_OFF or server.pod.is_terminating:
        return
    ended = "" if last is None else f" after exit code {last.exit_code} ({last.reason})"
    if server.pod.revision != view.revision and shard.master is not None:
        because = f"pod {server.pod.name} of a withdrawn revision crashes{ended}"
        draft.do(_delete(server, because), WAITING_S)
        return
    # What halts a roll must stay to be seen; a new pod in its place would run out of memory, too.
    is_rolling = any(one.pod.revision != view.revision for one in view.servers)
    is_evidence = last is not None and last.reason == OUT_OF_MEMORY and is_rolling
    if last is not None and _ran_well(last) and not is_evidence and shard.master is not None:
        because = f"pod {server.pod.name} waits in back-off{ended} while {shard.master.pod.name} serves"
        draft.do(_delete(server, because), WAITING_S)
        return
    draft.block(
        Blocker(
            "ContainerCrashes",
            f"the container of pod {server.pod.name} was restarted {container.restart_count} times{ended}",
            f"read `kubectl logs {server.pod.name} --previous`; after OOMKilled raise the memory limit",
            server.shard,
            is_stalling=True,
        )
    )


def _ran_well(last: Termination) -> bool:
    """Whether a run ended by an accident, and not because the server cannot run here."""
    was_killed = last.exit_code == KILLED_CODE and last.reason != OUT_OF_MEMORY
    return last.finished_at_s - last.started_at_s >= (RAN_UNTIL_KILLED_S if was_killed else RAN_WELL_S)


def _report_silent(view: ClusterView, shard: Shard, server: Server, draft: Draft, now_s: float) -> None:
    draft.look_again(WAITING_S)
    if not isinstance(server.answer, Unknown) or now_s - server.answer.since_s < SILENCE_S:
        return
    has_answered = bool(server.recorded_id)  # it may hold a copy, and only be out of reach
    if server.pod.revision != view.revision and shard.master is not None and not has_answered:
        because = f"pod {server.pod.name} of a withdrawn revision has never answered"
        draft.do(_delete(server, because), WAITING_S)
        return
    draft.block(
        Blocker(
            "NotAnswering",
            f"pod {server.pod.name} runs but does not answer: {server.answer.reason}",
            "look at the pod's node and network; a pod that is certainly dead may be deleted",
            server.shard,
        )
    )


def _delete(server: Server, because: str) -> DeletePod:
    """Delete a pod in which nothing runs, so without a grace period."""
    pod = server.pod
    return DeletePod(pod.name, pod.uid, pod.resource_version, because, 0, server.shard)
