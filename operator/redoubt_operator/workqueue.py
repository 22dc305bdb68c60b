"""The queue of keys that want a reconciliation: each at most once in it, each at most once at work.

A key is a resource's (namespace, name). Whoever learns that something may have changed adds the key: the
watches, the end of a connection to a server, the monitor, the resync. Adding costs nothing and decides
nothing; a key added ten times is reconciled once, and a key added while it is at work is reconciled once
more afterwards. Three dues exist: now in the fast lane (a server has died: every millisecond is downtime),
soon in the ordinary lane (events come in bursts, so they settle for a moment), and later (`again_after_s`
of a plan, or the growing pause after an error).

`Schedule` is the pure rule, driven by an explicit clock; `Workqueue` lets N workers wait on it. Neither
knows what a reconciliation is. The idea of one key, one worker, with deduplication follows the work queues
of Kubernetes' own controllers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

log = logging.getLogger(__name__)

# A pod's creation alone causes four events within some tens of milliseconds.
SETTLE_S: Final = 0.05
# Pauses after errors: 0.2, 0.4, ... 30 s. The first retry is quick because most errors are conflicts.
BACKOFF_FIRST_S: Final = 0.2
BACKOFF_MAX_S: Final = 30.0
# Doubling more often than this changes nothing, and 2 ** 1000 would overflow a float.
BACKOFF_DOUBLINGS_MAX: Final = 8
# One operator watches hundreds of clusters, not millions; beyond this the watches are broken.
KEYS_MAX: Final = 100_000


class Key(NamedTuple):
    """The identity of one RedoubtCluster."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(slots=True)
class _Due:
    """When a key that is not at work shall be taken; fast ones go before all others."""

    at_s: float
    order: int
    is_fast: bool


class Schedule:
    """Decides which key is taken next and when; see the module's docstring. O(keys) per question.

    `now_s` is any clock that does not go backwards.
    """

    def __init__(self, settle_s: float = SETTLE_S) -> None:
        self._settle_s = settle_s
        self._order = 0
        self._due: dict[Key, _Due] = {}
        # Keys at work, with what was asked for them meanwhile.
        self._working: dict[Key, _Due | None] = {}
        self._failures: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._due)

    @property
    def working(self) -> int:
        """How many keys are at work."""
        return len(self._working)

    def ready(self, now_s: float) -> int:
        """How many keys wait for a worker now: the depth of the queue."""
        return sum(1 for due in self._due.values() if due.at_s <= now_s)

    def add(self, key: Key, now_s: float, *, is_fast: bool = False) -> None:
        """Ask for a reconciliation soon, or at once in the fast lane. An earlier due stays."""
        self._ask(key, now_s if is_fast else now_s + self._settle_s, is_fast)

    def add_at(self, key: Key, at_s: float) -> None:
        """Ask for a reconciliation at a time to come, unless one is due before."""
        self._ask(key, at_s, False)

    def _ask(self, key: Key, at_s: float, is_fast: bool) -> None:
        in_work = key in self._working
        due = self._working[key] if in_work else self._due.get(key)
        if due is None:
            assert len(self._due) < KEYS_MAX, "the work queue has grown beyond every sane number of clusters"
            self._order += 1
            due = _Due(at_s, self._order, is_fast)
            if in_work:
                self._working[key] = due
            else:
                self._due[key] = due
        else:
            due.at_s = min(due.at_s, at_s)
            due.is_fast = due.is_fast or is_fast

    def take(self, now_s: float) -> Key | None:
        """Take the next due key: fast before ordinary, then by due time, then in the order of asking."""
        best: tuple[bool, float, int] | None = None
        taken: Key | None = None
        for key, due in self._due.items():
            rank = (not due.is_fast, due.at_s, due.order)
            if due.at_s <= now_s and (best is None or rank < best):
                best, taken = rank, key
        if taken is not None:
            del self._due[taken]
            self._working[taken] = None
        return taken

    def done(self, key: Key, now_s: float, again_after_s: float | None = None) -> None:
        """Give a key back after success. What was asked meanwhile is due; else it rests until asked."""
        self._failures.pop(key, None)
        self._give_back(key)
        if again_after_s is not None:
            self.add_at(key, now_s + again_after_s)

    def failed(self, key: Key, now_s: float) -> float:
        """Give a key back after an error; returns the pause in seconds until it is tried again.

        Ordinary requests made meanwhile wait for that pause too: an API server that answers 500 is not
        helped by a watch that wakes us faster. A fast request does not wait.
        """
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        pause_s = min(BACKOFF_FIRST_S * 2.0 ** min(count, BACKOFF_DOUBLINGS_MAX), BACKOFF_MAX_S)
        self._give_back(key)
        due = self._due.get(key)
        if due is None or not due.is_fast:
            self._due.pop(key, None)
            self.add_at(key, now_s + pause_s)
        return pause_s

    def _give_back(self, key: Key) -> None:
        asked = self._working.pop(key)
        if asked is not None:
            self._due[key] = asked

    def next_due_s(self) -> float | None:
        """When `take` will next have something, if nobody adds anything before."""
        return min((due.at_s for due in self._due.values()), default=None)


# Reconciles one key; returns after how many seconds it wants to be called again, or None for when asked.
Work = Callable[[Key], Awaitable[float | None]]


class Workqueue:
    """Runs `work` for due keys in up to `workers` tasks, one task a key at a time."""

    def __init__(self, work: Work, workers: int, schedule: Schedule | None = None) -> None:
        self._work = work
        self._workers = workers
        self._schedule = Schedule() if schedule is None else schedule
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def depth(self) -> int:
        """Keys that wait for a worker now."""
        return self._schedule.ready(self._loop.time())

    @property
    def working(self) -> int:
        """Keys at work now."""
        return self._schedule.working

    def add(self, key: Key, *, is_fast: bool = False) -> None:
        """Ask for a reconciliation of `key`."""
        self._schedule.add(key, self._loop.time(), is_fast=is_fast)
        self._woken.set()

    def add_after(self, key: Key, delay_s: float) -> None:
        """Ask for a reconciliation of `key` in `delay_s` seconds, unless one is due before."""
        self._schedule.add_at(key, self._loop.time() + delay_s)
        self._woken.set()

    def start(self) -> None:
        """Start the workers. They run until `stop`."""
        assert not self._tasks, "the workers are running already"
        self._tasks = [asyncio.create_task(self._run(), name=f"worker-{n}") for n in range(self._workers)]

    async def stop(self) -> None:
        """Cancel the workers, at whatever await each of them stands, and wait for their end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _run(self) -> None:
        while True:
            key = self._schedule.take(self._loop.time())
            if key is None:
                await self._wait()
                continue
            await self._reconcile(key)
            # Another worker may be asleep until a due that lies later than what was just given back.
            self._woken.set()

    async def _wait(self) -> None:
        self._woken.clear()
        due_s = self._schedule.next_due_s()
        timeout_s = None if due_s is None else max(0.0, due_s - self._loop.time())
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _reconcile(self, key: Key) -> None:
        try:
            again_after_s = await self._work(key)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the edge: one broken reconciliation must not end the operator
            pause_s = self._schedule.failed(key, self._loop.time())
            log.exception(
                "reconciliation failed",
                extra={"cluster": str(key), "error": str(error), "retry_in_s": round(pause_s, 1)},
            )
        else:
            self._schedule.done(key, self._loop.time(), again_after_s)
