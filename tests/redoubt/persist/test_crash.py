"""SIGKILL under load: a few rounds of `bench.crash` with each policy."""

from __future__ import annotations

import os
import random
import sys

import pytest

from bench.crash import Crashes

pytestmark = pytest.mark.process
ROUNDS = 3


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_no_acknowledged_write_is_lost_by_a_kill(policy: str) -> None:
    build = os.environ.get("REDOUBT_SERVER")
    command = [build] if build else [sys.executable, "-m", "redoubt.main"]
    crashes = Crashes(command, policy, random.Random(7))
    for _ in range(ROUNDS):
        crashes.round()
    assert crashes.acknowledged > 0
    assert (crashes.lost, crashes.halves) == (0, 0)
    crashes.clean()
