"""used_memory is what the process really took, within 15 %."""

from __future__ import annotations

import subprocess
import sys
from random import Random

import pytest

from redoubt.data.keyspace import Keyspace
from redoubt.data.memory import parts_of, usage_of, used_memory
from tests.redoubt.harness import ROOT, environment

# Fills a keyspace in a fresh process and prints: growth of the resident memory, used_memory.
PROGRAM = """
import resource, sys
from random import Random
from redoubt.data.keyspace import Keyspace
from redoubt.data.memory import used_memory

def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024

count, length, expires, is_cluster = (int(word) for word in sys.argv[1:])
keyspace = Keyspace(0, Random(1), bool(is_cluster))
before = resident()
for number in range(count):
    key = b"key:%012d" % number
    keyspace.set(key, b"x" * length if length else number + 1000)
    if expires:
        keyspace.set_expire(key, 1_700_000_000_000 + number)
after = resident()
keyspace.measure()
print(after - before, used_memory([keyspace]))
"""


@pytest.mark.parametrize(
    ("count", "length", "expires", "is_cluster"),
    [(200_000, 3, 0, 0), (200_000, 100, 0, 0), (100_000, 1000, 0, 0), (200_000, 0, 0, 0), (200_000, 32, 1, 0),
     (50_000, 32, 0, 1)],
)  # fmt: skip
def test_used_memory_is_within_15_percent_of_the_growth_of_the_process(
    count: int, length: int, expires: int, is_cluster: int
) -> None:
    words = [str(number) for number in (count, length, expires, is_cluster)]
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, check=True, env=environment()
    ).stdout
    growth, used = (int(word) for word in output.split())
    assert abs(used - growth) < 0.15 * growth, f"grew by {growth}, counted {used}"


def test_the_parts_add_up_to_used_memory() -> None:
    keyspaces = [Keyspace(number, Random(number), False) for number in range(2)]
    keyspaces[0].set(b"a", b"x" * 1000)
    keyspaces[1].set(b"b", 5)
    keyspaces[1].set_expire(b"b", 1_700_000_000_000)
    parts = parts_of(keyspaces)
    assert parts.values == 1056 + 32
    assert parts.expiries == 88
    assert parts.total() == used_memory(keyspaces)


def test_the_usage_of_a_key_counts_key_value_expiry_and_its_share_of_the_table() -> None:
    keyspace = Keyspace(0, Random(1), False)
    keyspace.set(b"k", b"x" * 100)
    without = usage_of(keyspace, b"k", b"x" * 100)
    keyspace.set_expire(b"k", 1_700_000_000_000)
    assert usage_of(keyspace, b"k", b"x" * 100) == without + 88
    assert without == 48 + 144 + keyspace.table_bytes()


def test_an_empty_keyspace_holds_nothing() -> None:
    keyspace = Keyspace(0, Random(1), False)
    keyspace.set(b"k", b"v")
    keyspace.delete(b"k")
    assert used_memory([keyspace]) == 0
    assert (keyspace.key_bytes, keyspace.value_bytes) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape",
    ["hashes of 5 fields (listpack)", "one hash of 200,000 fields", "sets of 10 integers (intset)",
     "one set of 200,000 members", "lists of 5 items", "streams of 10 entries"],
)  # fmt: skip
def test_structures_are_counted_within_15_percent_of_the_growth_of_the_process(shape: str) -> None:
    words = [sys.executable, "-m", "bench.memory_accuracy", "--shape", shape, "--turns", "1"]
    output = subprocess.run(words, capture_output=True, check=True, env=environment(), cwd=ROOT).stdout
    growth, used = (int(word) for word in output.splitlines()[0].split())
    assert abs(used - growth) < 0.15 * growth, f"grew by {growth}, counted {used}"


def test_a_key_and_its_expiry_share_one_object() -> None:
    keyspace = Keyspace(0, Random(1), False)
    keyspace.set(bytes(bytearray(b"key")), b"v")
    keyspace.set_expire(bytes(bytearray(b"key")), 1_700_000_000_000)
    bucket = keyspace.buckets[0]
    assert next(iter(bucket.values)) is next(iter(bucket.expiries))
