"""A shard that never had data gets its first master and its slots.

Nothing is formed where data may exist: the shard's view must be complete, no volume of the cluster may be
waiting for its server, and the number of shards must stand in the status, so that an interrupted creation
splits the slots the same way again. Each step is skipped when its effect is already there, so it continues
from any half-done state. The config epoch is set before the node meets others (servers refuse it afterwards,
and slots claimed at epoch 0 lose against a dead node's).

Called by plan for a shard without a master; succession.py uses `give_slots` for shards whose data are lost.
"""

from redoubt_operator.actions import AddSlots, AssignMaster, SetConfigEpoch
from redoubt_operator.draft import WAITING_S, Draft, target
from redoubt_operator.observation import Phase, Role
from redoubt_operator.placement import print_slots
from redoubt_operator.view import ClusterView, Fate, Server, Shard


def form(view: ClusterView, shard: Shard, draft: Draft) -> None:
    """Give a new shard its first master, as soon as it is certain that it is new."""
    if shard.is_empty:
        _form_empty(view, shard, draft)
        return
    if view.shards_recorded is None or not shard.is_complete or _waits_for_volumes(view):
        draft.look_again(WAITING_S)
        return
    heir = first_master(shard)
    if heir is None:
        draft.look_again(WAITING_S)
        return
    give_slots(view, shard, heir, f"shard {shard.index} is new and complete in view", draft)


def first_master(shard: Shard) -> Server | None:
    """The member that begins with the slots: one that was begun with before, else the lowest serial."""
    able = [server for server in shard.staying if server.status is not None and not server.status.loading]
    return min(able, key=lambda server: (not _is_begun(server), server.serial), default=None)


def give_slots(
    view: ClusterView, shard: Shard, heir: Server, because: str, draft: Draft, is_newest: bool = False
) -> None:
    """Make a member without slots the master of the shard's slots, if it has any."""
    status = heir.status
    assert status is not None
    if status.config_epoch == 0 and not heir.knows_others:
        epoch = view.current_epoch + 1 + shard.index  # differs between shards that are formed together
        draft.do(SetConfigEpoch(target(heir), epoch, because, shard.index))
    if status.phase is not Phase.ASSIGNED or status.role is not Role.MASTER:
        transitions = view.seen.lease_transitions
        draft.do(AssignMaster(target(heir), shard.epoch_seen, transitions, because, is_newest, shard.index))
    if shard.slots:
        because = f"{because}: slots {print_slots(shard.slots)}"
        draft.do(AddSlots(target(heir), shard.slots, because, shard.index))


def _form_empty(view: ClusterView, shard: Shard, draft: Draft) -> None:
    """Give a shard that joins a master without slots: they come with their keys (scaling.py).

    Its config epoch is above the cluster's current one, so a serving master must have told us that, and it is
    set before the node meets anybody: with epoch 0 it would lose its slots to any dead node's claim.
    """
    heir = first_master(shard)
    is_known = any(one.master is not None and not one.is_empty for one in view.shards)
    if shard.is_leaving or shard.is_retiring or not shard.is_complete or not is_known or heir is None:
        draft.look_again(WAITING_S)
        return
    give_slots(view, shard, heir, f"shard {shard.index} joins without slots", draft, is_newest=True)


def _is_begun(server: Server) -> bool:
    status = server.status
    assert status is not None
    is_master = status.phase is Phase.ASSIGNED and status.role is Role.MASTER
    return is_master or (status.config_epoch > 0 and not server.knows_others)


def _waits_for_volumes(view: ClusterView) -> bool:
    """Whether a volume of any shard has not been seen through a server: it may hold the cluster's map."""
    return any(
        shard.unmounted or any(one.pod.claim and one.fate is not Fate.SEEN for one in shard.servers)
        for shard in view.shards
    )
