"""The keys of one hash slot, as a whole: listed, counted, dropped, and taken over from another keyspace.

In cluster mode a keyspace has one table for each slot that holds keys, so none of this needs a second index,
and what arrives from another node is put in place table by table, not key by key.

Called by the cluster (slot moves, CLUSTER COUNTKEYSINSLOT and its kin, slot statistics).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.data.memory import EXPIRY_BYTES, TABLE_BYTES, size_of, size_of_bytes

if TYPE_CHECKING:
    from redoubt.data.keyspace import Keyspace


def keys_in_slot(keyspace: Keyspace, slot: int, count: int) -> list[bytes]:
    """Return up to `count` keys of the slot."""
    keys: list[bytes] = []
    table = keyspace.tables[slot]
    if table is not None:
        for bucket in table.buckets:
            keys.extend(bucket.values)
            if len(keys) >= count:
                break
    return keys[: max(count, 0)]


def count_in_slot(keyspace: Keyspace, slot: int) -> int:
    """Return the number of keys of the slot."""
    table = keyspace.tables[slot]
    return 0 if table is None else table.key_count


def bytes_in_slot(keyspace: Keyspace, slot: int) -> int:
    """Return what the slot's keys occupy, tables and expiry times included; O(n / 64)."""
    table = keyspace.tables[slot]
    if table is None:
        return 0
    expiring_count = sum([len(bucket.expiries) for bucket in table.buckets])
    occupied = TABLE_BYTES + keyspace.bucket_bytes * len(table.buckets) + EXPIRY_BYTES * expiring_count
    return occupied + table.content_bytes


def delete_slot(keyspace: Keyspace, slot: int) -> int:
    """Remove every key of the slot; return how many there were."""
    table = keyspace.tables[slot]
    if table is None:
        return 0
    keyspace.tell_database_changed()
    table.detached_at = keyspace.snapshot_number
    for bucket in table.buckets:
        for key, value in bucket.values.items():
            keyspace.key_bytes -= size_of_bytes(key)
            keyspace.value_bytes -= size_of(value)
            keyspace.field_deadlines.remove(key)
        keyspace.expiring_count -= len(bucket.expiries)
    keyspace.key_count -= table.key_count
    keyspace.drop_table(slot)
    keyspace.changes += 1
    return table.key_count


def absorb(keyspace: Keyspace, arrived: Keyspace) -> None:
    """Take over every table of another keyspace; ours of these slots are dropped. O(buckets).

    Snapshots under way do not get what arrives: it was not here when they began.
    """
    for slot, table in enumerate(arrived.tables):
        if table is None:
            continue
        delete_slot(keyspace, slot)
        for bucket in table.buckets:
            bucket.saved_by = keyspace.snapshot_number
            keyspace.enlist(bucket)
        keyspace.tables[slot] = table
    keyspace.slot_table_count += arrived.slot_table_count
    keyspace.key_count += arrived.key_count
    keyspace.expiring_count += arrived.expiring_count
    keyspace.key_bytes += arrived.key_bytes
    keyspace.value_bytes += arrived.value_bytes
    for key, due_ms in arrived.field_deadlines.due_ms.items():
        keyspace.field_deadlines.set(key, due_ms)
    keyspace.changes += 1
    arrived.start_empty()
    keyspace.tell_database_changed()
