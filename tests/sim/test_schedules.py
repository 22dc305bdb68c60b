"""Random schedules of faults against the planner and the servers together; see `schedules.py`.

`SIM_SEEDS=500 pytest tests/sim/test_schedules.py` runs more of each kind. Seeds that once failed are kept by
name, with the steps that were left after shrinking.
"""

from __future__ import annotations

import os

import pytest

from tests.sim.schedules import KINDS, Kind, play

COUNT = int(os.environ.get("SIM_SEEDS", "6"))


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
@pytest.mark.parametrize("seed", range(COUNT))
def test_whatever_happens_the_cluster_is_whole_again_with_what_it_promised(kind: Kind, seed: int) -> None:
    play(kind, seed)


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        ("volumes", 72),  # a yielding node whose successor has a new address
        ("volumes", 82),
        ("volumes", 100),
        ("wild", 79),
        ("operator", 114),
        ("operator", 118),
    ],
)
def test_seeds_that_once_failed(kind: str, seed: int) -> None:
    play(KINDS[kind], seed)
