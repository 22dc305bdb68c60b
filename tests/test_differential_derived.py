"""What Redis builds out of other types against a real redis-server: bitmaps, HyperLogLogs, places, sorting.

Generated calls of one family meet on a few keys, far more often than among all commands, and every value that
comes of them is compared as a whole: GET of a string, the pairs of a sorted set, the payload of DUMP. Seeds
are fixed.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.differential.bits import BITMAP, HYPERLOGLOG
from tests.differential.geos import GEO
from tests.differential.pair import Pair
from tests.differential.sorting import LCS, SORT
from tests.differential.vocabulary import KEYS, VALUES, Call, Calls, call
from tests.redoubt.harness import ServerProcess, redis_process, server_process

pytestmark = [
    pytest.mark.differential,
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server to compare with"),
]

_STRINGS: Calls = st.one_of(call(b"SET", KEYS, VALUES), call(b"DUMP", KEYS), call(b"DEL", KEYS))
FAMILIES: dict[str, list[Calls]] = {
    "bitmaps": [*BITMAP.values(), _STRINGS],
    "hyperloglogs": [*HYPERLOGLOG.values(), HYPERLOGLOG["pfadd"], call(b"GET", KEYS), call(b"DEL", KEYS)],
    "places": [*GEO.values(), GEO["geoadd"], GEO["geosearch"], call(b"SET", KEYS, VALUES)],
    "sorting": [SORT["sort"], SORT["sort_ro"]],
    "subsequences": [*LCS.values()],
}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with redis_process() as judge, server_process() as ours:
        yield judge, ours


class Family(RuleBasedStateMachine):
    """Generated calls of one family to both servers; at the end both must hold the same data."""

    pair: ClassVar[Pair]
    calls: ClassVar[Calls]

    def __init__(self) -> None:
        super().__init__()
        self.pair.reset()

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        argv: Call = data.draw(self.calls)
        self.pair.compare(*argv)

    def teardown(self) -> None:
        self.pair.compare_contents(1)


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("name", FAMILIES)
def test_generated_calls_of_a_family_are_answered_alike(
    servers: tuple[ServerProcess, ServerProcess], name: str, resp: int
) -> None:
    pair = Pair(*servers, resp)
    Family.pair = pair
    Family.calls = st.one_of(*FAMILIES[name])
    try:
        run_state_machine_as_test(
            Family,
            settings=settings(
                max_examples=60,
                stateful_step_count=40,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        pair.close()


@pytest.mark.parametrize("sparse_bytes_max", [0, 100, 3000, 16000])
def test_hyperloglogs_are_equal_byte_by_byte_at_every_size(
    servers: tuple[ServerProcess, ServerProcess], sparse_bytes_max: int
) -> None:
    pair = Pair(*servers)
    try:
        pair.reset()
        pair.compare("CONFIG", "SET", "hll-sparse-max-bytes", sparse_bytes_max)
        for size in (1, 10, 100, 500, 1000, 2000):
            first = size * 10_000
            for key, start in (("a", first), ("b", first + size // 2)):
                for at in range(start, start + size, 500):
                    numbers = range(at, min(at + 500, start + size))
                    pair.compare("PFADD", key, *[f"element:{number}" for number in numbers])
                pair.compare("GET", key)
                pair.compare("PFCOUNT", key)
                pair.compare("PFDEBUG", "ENCODING", key)
            pair.compare("PFCOUNT", "a", "b")
            pair.compare("PFMERGE", "c", "b")
            pair.compare("GET", "c")
            pair.compare("PFMERGE", "b", "a")
            pair.compare("DUMP", "b")
    finally:
        pair.compare("CONFIG", "SET", "hll-sparse-max-bytes", 3000)
        pair.close()


@pytest.mark.parametrize("count", [100, 1500])
def test_searches_among_many_places_find_the_same_in_the_same_order(
    servers: tuple[ServerProcess, ServerProcess], count: int
) -> None:
    draw = random.Random(count)
    pair = Pair(*servers)
    try:
        pair.reset()
        for number in range(count):
            spread = draw.choice([180, 180, 1, 0.01])
            longitude = max(-180.0, min(180.0, draw.uniform(-spread, spread)))
            latitude = max(-85.0, min(85.0, draw.uniform(-spread, spread)))
            pair.compare("GEOADD", "s", f"{longitude:.9f}", f"{latitude:.9f}", f"m{number}")
        for _ in range(400):
            center = ["FROMMEMBER", f"m{draw.randrange(count)}"]
            if draw.random() < 0.5:
                center = ["FROMLONLAT", f"{draw.uniform(-180, 180):.6f}", f"{draw.uniform(-85, 85):.6f}"]
            lengths = [f"{10 ** draw.uniform(-2, 4.5):.3f}" for _ in range(2)]
            shape = draw.choice([["BYRADIUS", lengths[0], "km"], ["BYBOX", *lengths, "km"]])
            options = draw.choice(
                [[], ["ASC"], ["DESC"], ["COUNT", "5"], ["COUNT", "5", "ANY"], ["DESC", "COUNT", "3"]]
            )
            pair.compare("GEOSEARCH", "s", *center, *shape, *options)
            pair.compare("GEOSEARCHSTORE", "d", "s", *center, *shape, *options, "STOREDIST")
            pair.compare("ZRANGE", "d", 0, -1, "WITHSCORES")
    finally:
        pair.close()
