"""Slots move under writes: what clients see of it, and what faults other than a kill do to a move.

Kills at every step are in `test_move_steps.py`. Here: nothing goes wrong and no client sees more than a
redirect; somebody cancels, hands a shard over, or gives several orders; a process stands still, or a network
is cut between any two of the parties; a shard is new and empty. In the end all is judged (`moving.py`).
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from redoubt.cluster.slots import mask_of_ranges
from redoubt.resp.replies import ErrorReply
from tests.sim.moving import RANGE, TERMINAL, Moving

SEEDS: Final = range(int(os.environ.get("SIM_SEEDS", "1")))
GAP_MS_MAX: Final = 60


def begin(
    seed: int, shape: tuple[int, int], *, is_managed: bool = True, trusts_replies: bool = True
) -> Moving:
    stage = Moving(seed, *shape, await_role="yes" if is_managed else "no")
    stage.begin_work(trusts_replies=trusts_replies)
    stage.world.run(50 + stage.world.random.randrange(100))
    return stage


def end(stage: Moving) -> None:
    stage.slow_down()
    stage.judge()


def move_again(stage: Moving) -> None:
    """Whatever became of the first attempt, the slots can be moved afterwards."""
    if not stage.is_moved(1, mask_of_ranges([RANGE])):
        stage.move()
        stage.wait_moved()
        end(stage)


@pytest.mark.parametrize("is_managed", [True, False], ids=["managed", "plain"])
@pytest.mark.parametrize("shape", [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)], ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_move_costs_no_error_and_no_time(seed: int, shape: tuple[int, int], is_managed: bool) -> None:
    stage = begin(seed, shape, is_managed=is_managed)
    source, target = stage.head_of(0), stage.head_of(1)
    stage.move()
    stage.wait_moved()
    stage.world.run(50)
    assert [hand.errors for hand in stage.hands] == [[], [], []]
    assert max(hand.gap_ms for hand in stage.hands) < GAP_MS_MAX
    end(stage)
    assert [(one["operation"], one["state"]) for one in stage.moves_at(source)] == [("EXPORT", "success")]
    assert [(one["operation"], one["state"]) for one in stage.moves_at(target)] == [("IMPORT", "success")]


@pytest.mark.parametrize("seed", SEEDS)
def test_an_imported_key_is_seen_by_nobody_before_the_switch(seed: int) -> None:
    stage = begin(seed, (3, 1))
    target = stage.head_of(1)
    before = stage.client.ask(target, "DBSIZE")
    stage.world.freeze(stage.replicas_of(0)[0])  # it cannot confirm the grant: the move never gets that far
    stage.move()
    stage.world.run(200)
    assert stage.moves_at(target)[0]["state"] not in TERMINAL
    keys = stage.client.ask(target, "KEYS", "*")
    assert isinstance(before, int) and isinstance(keys, list)
    moving = {one.key.encode() for one in stage.ledger.accounts if one.slot <= RANGE[1]}
    assert not moving & {key for key in keys if isinstance(key, bytes)}
    stage.world.thaw(stage.host(stage.members[0][1]).address)
    stage.wait_moved()
    end(stage)


@pytest.mark.parametrize("after_ms", [0, 1, 2, 3, 4, 6, 8, 10, 12, 15])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_move_may_be_cancelled_at_any_time(seed: int, after_ms: int) -> None:
    stage = begin(seed, (3, 1))
    stage.move()
    stage.world.run(after_ms)
    stage.client.ask(stage.head_of(0), "CLUSTER", "CANCELSLOTMIGRATIONS")  # an error if all is over
    stage.world.run(300)
    assert [hand.errors for hand in stage.hands] == [[], [], []]
    end(stage)
    assert stage.moves_at(stage.head_of(0))[0]["state"] in ("cancelled", "success")
    move_again(stage)


@pytest.mark.parametrize("shard", [0, 1], ids=["source", "target"])
@pytest.mark.parametrize("after_ms", [0, 2, 4, 6, 8, 10, 14])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_handover_during_a_move_loses_nothing(seed: int, after_ms: int, shard: int) -> None:
    stage = begin(seed, (3, 1))
    stage.move()
    stage.world.run(after_ms)
    reply = stage.client.ask(stage.head_of(shard), "REDOUBT", "HANDOVER", limit_ms=15_000)
    assert reply is not None
    stage.world.run(500)
    end(stage)
    move_again(stage)


@pytest.mark.parametrize("who", ["source", "target", "source's replica", "target's replica"])
@pytest.mark.parametrize("frozen_ms", [30, 1_000, 7_000])
@pytest.mark.parametrize("seed", SEEDS)
def test_whoever_stands_still_during_a_move_loses_nothing(seed: int, frozen_ms: int, who: str) -> None:
    # What a frozen master acknowledged is promised only when its replica has confirmed it, and it may answer
    # reads from the past when it wakes.
    stage = begin(seed, (3, 1), trusts_replies=False)
    shard, member = (0 if who.startswith("source") else 1), int(who.endswith("replica"))
    victim = [stage.head_of(shard), *stage.replicas_of(shard)][member]
    stage.move()
    stage.world.run(stage.world.random.randrange(16))
    stage.world.freeze(victim)
    stage.world.run(frozen_ms)
    stage.world.thaw(victim)
    stage.world.run(1_000)
    end(stage)
    move_again(stage)


CUTS: Final = {
    "source and target": ("source", "target"),
    "source and everybody": ("source", "all"),
    "target and everybody": ("target", "all"),
    "target and its replica": ("target", "target's replica"),
    "source and its replica": ("source", "source's replica"),
}


@pytest.mark.slow
@pytest.mark.parametrize("pair", CUTS.values(), ids=CUTS.keys())
@pytest.mark.parametrize("cut_ms", [50, 1_500, 8_000])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_broken_network_during_a_move_loses_nothing(seed: int, cut_ms: int, pair: tuple[str, str]) -> None:
    stage = begin(seed, (3, 1), trusts_replies=False)
    places = {
        "source": [stage.head_of(0)],
        "target": [stage.head_of(1)],
        "source's replica": stage.replicas_of(0),
        "target's replica": stage.replicas_of(1),
        "all": stage.addresses(),
    }
    (first,) = places[pair[0]]
    stage.move()
    stage.world.run(stage.world.random.randrange(16))
    for second in places[pair[1]]:
        if second != first:
            stage.world.cut(first, second)
    stage.world.run(cut_ms)
    stage.world.heal()
    stage.world.run(1_000)
    end(stage)
    move_again(stage)


@pytest.mark.parametrize("seed", SEEDS)
def test_several_moves_at_once_in_all_directions(seed: int) -> None:
    stage = begin(seed, (3, 1))
    orders = [
        (0, 1, [(0, 400)]),
        (0, 2, [(401, 900), (1_500, 1_600)]),
        (1, 0, [(7_000, 7_500)]),
        (2, 0, [(15_000, 15_500)]),
        (2, 1, [(15_501, 16_000)]),
    ]
    for source, target, ranges in orders:
        stage.move(source, target, ranges)
    for _, target, ranges in orders:
        stage.wait_moved(target, mask_of_ranges(ranges))
    stage.world.run(50)
    assert [hand.errors for hand in stage.hands] == [[], [], []]
    end(stage)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slot_takes_part_in_one_move_only(seed: int) -> None:
    stage = begin(seed, (3, 1))
    stage.move()
    assert isinstance(stage.order_move(0, 2, [(RANGE[1], RANGE[1] + 5)]), ErrorReply)
    stage.wait_moved()
    end(stage)


@pytest.mark.parametrize("replicas", [0, 1])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_shard_gets_slots_and_gives_all_of_them_back(seed: int, replicas: int) -> None:
    stage = begin(seed, (2, replicas))
    new = stage.add_shard(replicas)
    stage.move(0, new)
    stage.wait_moved(new)
    stage.move(1, new, [(15_000, 16_000)])
    stage.wait_moved(new, mask_of_ranges([(15_000, 16_000)]))
    end(stage)
    stage.move(new, 0, [RANGE])
    stage.wait_moved(0)
    stage.move(new, 1, [(15_000, 16_000)])
    stage.wait_moved(1, mask_of_ranges([(15_000, 16_000)]))
    stage.world.run(100)
    assert stage.cluster(stage.members[new][0]).topology.myself.slots == 0
    assert [hand.errors for hand in stage.hands] == [[], [], []]
    end(stage)
