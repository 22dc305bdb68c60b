"""What slot migrations keep: grants in nodes.conf, and keys that change keyspaces."""

from __future__ import annotations

from random import Random

import pytest

from redoubt.cluster.migration_stream import SlotStream, read_commands, read_entries
from redoubt.cluster.nodes_conf import CorruptNodes, parse, render
from redoubt.cluster.slot_grants import SlotGrant
from redoubt.cluster.slots import mask_of_ranges
from redoubt.data.keyspace import Keyspace
from redoubt.data.memory import used_memory
from redoubt.data.slot_tables import absorb
from redoubt.data.snapshot_cursor import SnapshotCursor
from redoubt.data.table import Bucket
from redoubt.data.text import Value
from tests.redoubt.cluster.movers import ME, NAME, NODES, OTHER, keys_in

NOW_MS = 1_700_000_000_000


class Copy(SnapshotCursor):
    """Collects what a snapshot holds."""

    def __init__(self, keyspace: Keyspace) -> None:
        super().__init__(keyspace)
        self.found: dict[bytes, Value] = {}

    def take(self, items: list[tuple[bytes, Value, int]], bucket: Bucket) -> None:
        self.found.update({key: value for key, value, _ in items})


def keyspace_with(keys: list[bytes], value: bytes = b"v") -> Keyspace:
    keyspace = Keyspace(0, Random(1), True)
    for key in keys:
        keyspace.store(key, value)
    return keyspace


def test_grants_and_takings_survive_in_nodes_conf() -> None:
    topology = parse(NODES, NOW_MS)
    mask = mask_of_ranges([(0, 9), (20, 20)])
    topology.grants[NAME] = SlotGrant(NAME, ME, OTHER, 7, mask)
    topology.takings["f" * 40] = SlotGrant("f" * 40, OTHER, ME, 8, 1 << 6000)
    again = parse(render(topology).decode(), NOW_MS)
    (grant,), (taking,) = again.grants.values(), again.takings.values()
    assert (grant.name, grant.source_id, grant.target_id, grant.epoch, grant.mask) == (
        NAME,
        ME,
        OTHER,
        7,
        mask,
    )
    assert (taking.name, taking.epoch, taking.mask) == ("f" * 40, 8, 1 << 6000)
    assert again.granted() == mask


@pytest.mark.parametrize("word", ["x", f"{NAME}:{ME}:{OTHER}:7:9-3", f"{NAME}:{ME}:{OTHER}:seven:0-3"])
def test_a_grant_that_nobody_wrote_is_corrupt(word: str) -> None:
    text = NODES.replace("lastVoteEpoch 0", f"lastVoteEpoch 0 redoubt-slot-grants {word}")
    with pytest.raises(CorruptNodes):
        parse(text, NOW_MS)


def test_absorbed_keys_bring_their_sums_and_replace_what_was_there() -> None:
    moving, staying = keys_in(100, 110, 200), keys_in(200, 210, 50)
    main = keyspace_with([*staying, *moving[:20]], b"left behind")
    arrived = keyspace_with(moving)
    arrived.set_expire(moving[0], NOW_MS)
    main.arriving.append(arrived)
    absorb(main, arrived)
    main.arriving.clear()
    expected = keyspace_with(staying, b"left behind")
    for key in moving:
        expected.store(key, b"v")
    expected.set_expire(moving[0], NOW_MS)
    assert used_memory([main]) == used_memory([expected])
    assert (main.key_count, main.expiring_count, len(arrived)) == (250, 1, 0)
    assert sorted(main.all_keys()) == sorted(expected.all_keys())
    assert all(main.get(key) == b"v" for key in moving)
    for key in [*moving, *staying]:
        assert main.delete(key)
    assert used_memory([main]) == used_memory([Keyspace(0, Random(1), True)])


def test_a_snapshot_under_way_does_not_get_what_arrives() -> None:
    staying, moving = keys_in(200, 210, 50), keys_in(100, 110, 50)
    main = keyspace_with(staying)
    copy = Copy(main)
    absorb(main, keyspace_with(moving))
    main.store(moving[0], b"changed")
    while copy.advance():
        pass
    assert sorted(copy.found) == sorted(staying)
    later = Copy(main)
    while later.advance():
        pass
    assert sorted(later.found) == sorted([*staying, *moving])


def test_a_stream_holds_its_slots_and_no_others() -> None:
    mine, others = keys_in(100, 110, 300), keys_in(200, 210, 300)
    keyspace = keyspace_with([*mine, *others])
    stream = SlotStream(keyspace, mask_of_ranges([(100, 110)]))
    keyspace.store(others[0], b"early")  # hands its bucket to every snapshot
    stream.changed([b"SET", others[0], b"early"])
    keyspace.store(mine[0], b"new")
    stream.changed([b"SET", mine[0], b"new"])
    stream.advance(10_000, 1 << 20)
    found = {key: value for batch in stream.take_keys() for key, value, _ in read_entries(batch)}
    assert found == dict.fromkeys(mine, b"v")  # as they were when the stream began
    assert [argv for batch in stream.take_changes() for argv in read_commands(batch)] == [
        [b"SET", mine[0], b"new"]
    ]
    assert stream.is_snapshot_done
    assert stream.pending_bytes == 0
