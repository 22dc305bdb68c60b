"""The snapshot shows the state at its start, whatever is written while it runs."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt.data.keyspace import Keyspace
from redoubt.data.slot_tables import delete_slot
from redoubt.data.text import GrowableText, text_bytes
from redoubt.persist.rdb_read import RdbReader, RdbSink
from redoubt.persist.rdb_write import RdbWriter
from redoubt.persist.snapshot import Snapshot


class Contents(RdbSink):
    """The databases that a stream describes; a key that comes twice is an error."""

    def __init__(self):
        self.databases = {}
        self.announced = {}

    def resize(self, database, key_count, expiry_count):
        self.announced[database] = (key_count, expiry_count)

    def entry(self, database, key, value, expires_ms):
        found = self.databases.setdefault(database, {})
        assert key not in found, f"{key!r} was written twice"
        found[key] = (text_bytes(value), expires_ms)


def contents_of(keyspaces):
    return {
        keyspace.database: {
            key: (text_bytes(keyspace.get(key)), keyspace.expire_at(key)) for key in keyspace.all_keys()
        }
        for keyspace in keyspaces
        if len(keyspace)
    }


def contents_in(chunks):
    sink = Contents()
    reader = RdbReader("snapshot", sink)
    for chunk in chunks:
        reader.feed(chunk)
    while reader.advance(100):
        pass
    reader.finish()
    return sink


def begin(keyspaces):
    return Snapshot(keyspaces, RdbWriter(), [(b"redis-ver", b"7.2.4")])


# What one step does: (what, database, key number, number).
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["set", "set", "set", "delete", "delete", "expire", "persist", "append", "flush", "swap",
             "delete_slot", "advance", "advance", "advance", "take", "begin"]
        ),
        st.integers(0, 2),
        st.integers(0, 400),
        st.integers(1, 1 << 40),
    ),
    max_size=150,
)  # fmt: skip


def apply(keyspaces, what, database, key, number):
    keyspace = keyspaces[database]
    if what == "set":
        keyspace.set(key, number)
    elif what == "delete":
        keyspace.delete(key)
    elif what == "expire" and keyspace.get(key) is not None:
        keyspace.set_expire(key, number)
    elif what == "persist":
        keyspace.persist(key)
    elif what == "append" and keyspace.get(key) is not None:
        value = keyspace.get(key)
        if not isinstance(value, GrowableText):
            value = GrowableText(text_bytes(value))
            keyspace.store(key, value)
        size = keyspace.begin_change(key)
        value.append(b"%d" % number)
        keyspace.end_change(value, size)
    elif what == "flush":
        keyspace.flush()
    elif what == "swap":
        keyspace.swap(keyspaces[(database + 1) % 3])
    elif what == "delete_slot" and keyspace.is_cluster:
        delete_slot(keyspace, keyspace.slot_of(key))


@pytest.mark.parametrize("is_cluster", [False, True])
@settings(max_examples=150, deadline=None)
@given(size=st.integers(0, 400), seed=st.integers(0, 5), script=steps)
def test_any_interleaving_yields_the_state_at_the_start(is_cluster, size, seed, script):
    random = Random(seed)
    keyspaces = [Keyspace(database, Random(1), is_cluster) for database in range(3)]
    for i in range(size):
        keyspace = keyspaces[random.choice([0, 0, 0, 1])]
        keyspace.set(b"key:%d" % i, b"old-%d" % i)
        if i % 5 == 0:
            keyspace.set_expire(b"key:%d" % i, 1000 + i)
    running = [(begin(keyspaces), contents_of(keyspaces), [])]
    for what, database, number, value in script:
        if what == "begin" and len(running) < 3:
            running.append((begin(keyspaces), contents_of(keyspaces), []))
        elif what == "advance":
            running[value % len(running)][0].advance(500)
        elif what == "take":
            snapshot, _, chunks = running[value % len(running)]
            chunks += snapshot.take()
        else:
            apply(keyspaces, what, database, b"key:%d" % number, value)
    for snapshot, expected, chunks in running:
        while not snapshot.is_done:
            snapshot.advance(snapshot.pending_bytes + 1)
        found = contents_in(chunks + snapshot.take())
        assert found.databases == expected
        assert snapshot.keys_written == snapshot.key_count
        assert found.announced == {
            database: (len(keys), sum(1 for _, expiry in keys.values() if expiry))
            for database, keys in expected.items()
        }
    assert all(keyspace.snapshots == [] for keyspace in keyspaces)


def test_writes_beyond_the_first_change_of_a_bucket_cost_nothing():
    keyspace = Keyspace(0, Random(1), False)
    for i in range(1000):
        keyspace.set(b"key:%d" % i, b"old")
    snapshot = begin([keyspace])
    keyspace.set(b"key:1", b"new")
    pending = snapshot.pending_bytes
    keyspace.set(b"key:1", b"newer")
    assert snapshot.pending_bytes == pending


def test_a_snapshot_that_is_given_up_releases_the_keyspace():
    keyspace = Keyspace(0, Random(1), False)
    keyspace.set(b"key", b"value")
    snapshot = begin([keyspace])
    snapshot.give_up()
    snapshot.give_up()
    assert keyspace.snapshots == []
    keyspace.set(b"key", b"other")
    assert snapshot.keys_written == 0


def test_an_empty_server_has_a_valid_snapshot():
    snapshot = begin([Keyspace(0, Random(1), False)])
    snapshot.advance(1 << 20)
    assert contents_in(snapshot.take()).databases == {}
