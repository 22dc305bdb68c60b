"""When the runtime ticks the node: as soon as a turn leaves a wish, and whatever the wall clock does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random

import pytest
import uvloop

from redoubt.config import Config
from redoubt.interfaces import LISTEN_CLIENT, CloseListener
from redoubt.node import TICK_MS, Node
from redoubt.runtime.loop import TICK_DELAY_MS_MAX, Runtime, wall_clock_ms
from tests.redoubt.harness import free_port


class Process:
    """A runtime whose wall clock the test sets."""

    def __init__(self) -> None:
        config = Config()
        config.assign([("port", [str(free_port())]), ("bind", ["127.0.0.1"]), ("save", [""])], is_start=True)
        self.loop = uvloop.new_event_loop()
        self.set_back_ms = 0
        self.node = Node(config, Random(1), self.clock_ms())
        self.runtime = Runtime(self.node, self.loop, self.clock_ms)
        self.runtime.start(b"")
        self.turn(0.02)

    def clock_ms(self) -> int:
        return wall_clock_ms() - self.set_back_ms

    def turn(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def until_ticked(self) -> int:
        """Wait for the next tick; return its clock reading."""
        before_ms = self.node.ticked_ms
        for _ in range(5000):
            self.turn(0.001)
            if self.node.ticked_ms != before_ms:
                return self.node.ticked_ms
        raise AssertionError("no tick")

    def end(self) -> None:
        self.node.state.effects.append(CloseListener(LISTEN_CLIENT))
        self.runtime.begin_turn()
        self.turn(0.02)
        self.loop.close()


@pytest.fixture
def process() -> Iterator[Process]:
    running = Process()
    yield running
    running.end()


def test_a_wish_of_a_turn_brings_the_planned_tick_forward(process: Process) -> None:
    lateness_ms = []
    for _ in range(5):
        regular_ms = process.until_ticked() + TICK_MS
        assert process.runtime.tick_due_ms == regular_ms
        now_ms = process.runtime.begin_turn()
        process.node.state.blocking.pause("test", False, now_ms + 5)
        process.turn(0)
        process.turn(0)
        assert process.runtime.tick_due_ms == now_ms + 5
        while process.node.state.blocking.pauses:
            process.until_ticked()  # a timer may be a fraction of a millisecond early
        lateness_ms.append(process.node.ticked_ms - now_ms - 5)
    # A loaded machine may come late once, not five times.
    assert min(lateness_ms) < 20


def test_a_wish_for_later_leaves_the_planned_tick_alone(process: Process) -> None:
    regular_ms = process.until_ticked() + TICK_MS
    process.node.state.blocking.pause("test", False, process.runtime.begin_turn() + 5000)
    process.turn(0)
    process.turn(0)
    assert process.runtime.tick_due_ms == regular_ms


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
def test_ticks_go_on_when_the_wall_clock_jumps(process: Process, jump_ms: int) -> None:
    process.until_ticked()
    process.set_back_ms = -jump_ms
    # Whatever asks for a new plan before the next tick must not put it off by the jump.
    process.runtime.plan_tick()
    timer = process.runtime.tick_timer
    assert timer is not None
    assert timer.when() - process.loop.time() <= TICK_DELAY_MS_MAX / 1000 + 0.01
    jumped_ms = process.until_ticked()
    assert abs(jumped_ms - process.clock_ms()) < 500
    assert process.runtime.tick_due_ms == jumped_ms + TICK_MS
    process.until_ticked()
    assert process.runtime.faults == 0
