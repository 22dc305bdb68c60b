"""Processes are killed at every step of a slot move, and nothing that was acknowledged is lost.

The protocol's steps are not named here, they are counted: a story is told once for each packet that arrives
anywhere while the slots move (`kill_at_delivery`), and once for each write of the source or target
(`kill_at_send`: the process dies in the middle of its turn, so that its record is on disk and the message is
not out, or one of two messages is). After each story the cluster heals by itself, everything is judged, and
the slots are moved once more without faults.

All steps take minutes, so a run tells each story for a step or two, another one with each seed;
`SIM_SEEDS=32 pytest tests/sim/test_move_steps.py` tells them all. Stories that once failed are kept.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from redoubt.cluster.slots import mask_of_ranges
from tests.sim.moving import RANGE, Moving

COUNT: Final = int(os.environ.get("SIM_SEEDS", "1"))
SEEDS: Final = range(COUNT)
# From the order to the end of the sweeping, by packets that arrive and by writes of one process.
DELIVERIES: Final = 64
SENDS: Final = 32
# Of the stories of one seed every so-many-th is told, another one with each seed.
STRIDE: Final = 32
PATIENCE_MS: Final = 1_200
BACK_MS: Final = (0, 5, 150, 1_000)


def steps(seed: int, count: int, who: str) -> range:
    """Choose the steps of a seed: together, STRIDE seeds take all of them."""
    return range(1 + (seed + 7 * EVERYBODY.index(who)) % STRIDE, count + 1, STRIDE)


def begin(seed: int, shape: tuple[int, int], await_role: str = "yes") -> Moving:
    """Have clients at work and a move begun."""
    stage = Moving(seed, *shape, await_role=await_role)
    stage.back_after_ms = stage.world.random.choice(BACK_MS)
    stage.begin_work()
    stage.world.run(50 + stage.world.random.randrange(100))
    stage.move()
    return stage


def end(stage: Moving) -> None:
    """Let everything heal and judge it; then the slots must move, if they have not."""
    stage.world.run(300)
    stage.slow_down()
    stage.world.run(PATIENCE_MS)
    stage.judge()
    if not stage.is_moved(1, mask_of_ranges([RANGE])):
        stage.move()
        stage.wait_moved()
        stage.judge()


def victims(stage: Moving, who: str) -> list[str]:
    source, target = stage.head_of(0), stage.head_of(1)
    places = {
        "source": [source],
        "target": [target],
        "both": [source, target],
        "source's replica": stage.replicas_of(0)[:1],
        "target's replica": stage.replicas_of(1)[:1],
        "both replicas": stage.replicas_of(0)[:1] + stage.replicas_of(1)[:1],
        "source and target's replica": [source, *stage.replicas_of(1)[:1]],
        "target and source's replica": [target, *stage.replicas_of(0)[:1]],
    }
    return places[who]


EVERYBODY: Final = (
    "source",
    "target",
    "both",
    "source's replica",
    "target's replica",
    "both replicas",
    "source and target's replica",
    "target and source's replica",
)


@pytest.mark.parametrize("who", EVERYBODY)
@pytest.mark.parametrize("shards", [2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_kill_at_any_packet_loses_nothing(seed: int, shards: int, who: str) -> None:
    # Of two masters both cannot be replaced by votes: that takes an operator, which these stories lack.
    shape = (3 if who == "both" else shards, 1)
    for number in steps(seed, DELIVERIES, who):
        stage = begin(seed, shape)
        stage.kill_at_delivery(number, *victims(stage, who))
        end(stage)


@pytest.mark.parametrize("who", ["source", "target"])
@pytest.mark.parametrize("shape", [(2, 1), (3, 1)], ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_kill_before_any_write_of_a_turn_loses_nothing(seed: int, shape: tuple[int, int], who: str) -> None:
    for number in steps(seed, SENDS, who):
        stage = begin(seed, shape)
        stage.kill_at_send(number, *victims(stage, who))
        end(stage)


@pytest.mark.parametrize("who", ["source", "target", "both"])
@pytest.mark.parametrize("seed", SEEDS)
def test_without_replicas_a_kill_costs_what_the_killed_one_owned_and_no_more(seed: int, who: str) -> None:
    for number in steps(seed, DELIVERIES, who):
        stage = begin(seed, (3, 0))
        stage.kill_at_delivery(number, *victims(stage, who))
        end(stage)


@pytest.mark.parametrize("who", ["source", "target", "both"])
@pytest.mark.parametrize("seed", SEEDS)
def test_with_two_replicas_a_kill_at_any_packet_loses_nothing(seed: int, who: str) -> None:
    for number in steps(seed, DELIVERIES + 32, who):
        stage = begin(seed, (3, 2))
        stage.kill_at_delivery(number, *victims(stage, who))
        end(stage)


@pytest.mark.parametrize("who", ["source", "target"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_plain_cluster_fails_over_in_the_middle_of_a_move(seed: int, who: str) -> None:
    """Outside managed mode a killed master comes back when its replica has succeeded it, as with Redis."""
    for number in steps(seed, DELIVERIES, who):
        stage = begin(seed, (3, 1), await_role="no")
        stage.back_after_ms = 4_000
        stage.kill_at_delivery(number, *victims(stage, who))
        stage.world.run(4_000)
        end(stage)


@pytest.mark.parametrize(
    ("seed", "shape", "kind", "number", "who"),
    [
        # The successor swept granted slots, which it then took back.
        (0, (2, 1), "packet", 17, "source"),
        # A grant that nodes.conf remembered stayed open in the log of a replica.
        (0, (2, 1), "packet", 22, "source"),
        # The target died before its claim was heard; its own vote was refused to its replica.
        (6218, (2, 1), "send", 11, "target"),
        (5380, (2, 1), "send", 16, "target"),
        # The old and the new master of one shard both voted, and another shard had two winners.
        (28, (3, 2), "packet", 75, "both"),
    ],
)
def test_stories_that_once_failed(
    seed: int, shape: tuple[int, int], kind: str, number: int, who: str
) -> None:
    stage = begin(seed, shape)
    if kind == "send":
        stage.kill_at_send(number, *victims(stage, who))
    else:
        stage.kill_at_delivery(number, *victims(stage, who))
    end(stage)
