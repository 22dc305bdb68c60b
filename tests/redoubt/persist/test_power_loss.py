"""Power failures at random moments: what was promised is there, and the files always load.

Each seed is one life: writes of several kinds, transactions, rewrites, errors of the disk, then the power
fails; the next process must load, hold a state that the history has had (no half transaction), and no older
one than the policy promises: with `always` the last that was acknowledged, with `everysec` one of the last
two seconds (the sync of the second, and the time it may take). The state is a counter that every write
raises, and a twin that only transactions write. `POWER_SEEDS` is how many lives there are.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from redoubt.resp.replies import Reply, SimpleString, encode_command
from tests.redoubt.harness import Client
from tests.redoubt.persist.power import PowerHarness

SEEDS = int(os.environ.get("POWER_SEEDS", "1000"))
GROUPS = 10
OK = SimpleString(b"OK")
# Redis's word for everysec: a second, and one more while a sync is slow.
EVERYSEC_MS = 2_000


class Life:
    """One process between its start and the failure of the power."""

    def __init__(self, random: Random, words: list[str], files: dict[str, bytes], count: int) -> None:
        self.random = random
        self.server = PowerHarness(*words, random=random, files=files)
        assert self.server.exit_code is None, "the files must load"
        self.client: Client = self.server.connect()
        self.count = count
        self.refused_ms = 1 << 62  # since when the disk has refused something
        # When each count was acknowledged.
        self.acknowledged: list[tuple[int, int]] = [(self.server.now_ms, count)]

    def ask(self, *words: str) -> Reply:
        """Run one command; None if the connection was closed instead of an answer."""
        if self.client.is_closed:
            return None
        self.client.send(encode_command([word.encode() for word in words]))
        replies = self.client.replies()
        return replies[0] if replies and not self.client.is_closed else None

    def write(self) -> None:
        """Raise the counter, alone or in a transaction, and note whether that was acknowledged."""
        if self.client.is_closed:
            self.client = self.server.connect()
        number = self.count + 1
        kind = self.random.randrange(3)
        if kind == 0:
            is_done = self.ask("SET", "count", str(number)) == OK
        elif kind == 1:
            self.ask("MULTI")
            self.ask("SET", "count", str(number))
            self.ask("SET", "twin", str(number))
            is_done = self.ask("EXEC") == [OK, OK]
        else:
            is_done = self.ask("INCRBY", "count", "1") == number
        if is_done:
            self.acknowledged.append((self.server.now_ms, number))
        if is_done or self.client.is_closed:
            self.count = number  # without an answer it may have happened

    def live(self) -> None:
        """Do something of everything."""
        random = self.random
        for _ in range(random.randint(1, 60)):
            choice = random.random()
            if choice < 0.7:
                self.write()
            elif choice < 0.85:
                self.pass_time(random.choice((1, 10, 200, 1200)))
            elif choice < 0.97:
                if not self.client.is_closed:
                    self.client.ask("BGREWRITEAOF")
            else:
                self.server.refusals = random.randint(1, 4)
                self.refused_ms = min(self.refused_ms, self.server.now_ms)

    def pass_time(self, duration_ms: int) -> None:
        """Let time pass, in which syncs in a thread take up to 200 ms."""
        while duration_ms > 0:
            self.server.advance(min(duration_ms, 200))
            self.server.end_syncs()
            duration_ms -= 200

    def promised(self, policy: str) -> int:
        """Return the least count that the next process must have."""
        if policy == "always":
            return self.acknowledged[-1][1]
        # The second is a promise of a disk that works.
        until_ms = min(self.server.now_ms, self.refused_ms) - EVERYSEC_MS
        return max(count for at_ms, count in self.acknowledged if at_ms <= until_ms or count == 0)


def lives(seed: int, policy: str) -> None:
    random = Random(seed)
    preamble = random.choice(("yes", "no"))
    words = ["--appendonly", "yes", "--appendfsync", policy, "--aof-use-rdb-preamble", preamble]
    words += ["--auto-aof-rewrite-min-size", random.choice(("200", "100000"))]
    files: dict[str, bytes] = {}
    count = 0
    for _ in range(3):
        life = Life(random, words, files, count)
        life.acknowledged[0] = (0, count)
        life.live()
        files = life.server.fail_power()
        found = PowerHarness(*words, random=Random(seed), files=files)
        assert found.exit_code is None, f"seed {seed}: the files do not load"
        client = found.connect()
        text = client.ask("GET", "count")
        count = 0 if text is None else int(text)
        twin = client.ask("GET", "twin")
        assert life.promised(policy) <= count <= life.count, f"seed {seed}"
        assert twin is None or int(twin) <= count, f"seed {seed}: half a transaction"


@pytest.mark.parametrize("policy", ["always", "everysec"])
@pytest.mark.parametrize("group", range(GROUPS))
def test_power_loss(policy, group):
    for seed in range(group * SEEDS // GROUPS // 2, (group + 1) * SEEDS // GROUPS // 2):
        lives(seed, policy)
