"""The schema of .status: what the operator writes, described for `kubectl explain` and docs/api.md.

It follows status.py and shard_table.py, which fill it; a field that is not described here would be pruned by
the API server. Used by crd.py.
"""

from typing import Any

Schema = dict[str, Any]


def status_schema() -> Schema:
    """The schema of .status."""
    return {
        "type": "object",
        "description": "What was seen and what is going on; written by the operator.",
        # Before the operator's first look nothing would say that the resource is not current: tools that wait
        # by kstatus (Flux, Helm) would go on at once. No generation is -1.
        "default": {"observedGeneration": -1},
        "properties": {
            "observedGeneration": {
                "type": "integer",
                "format": "int64",
                "description": "Generation acted on.",
            },
            "phase": _text(
                "One word: Creating, Running, Updating, FailingOver, Degraded, Paused or Invalid."
            ),
            "message": _text("One sentence for people."),
            "currentShards": _count("Number of shards that have slots, or members although they leave."),
            "targetShards": _count("Number of shards that `moves` lead to."),
            "moves": _moves_schema(),
            "openSlots": _open_slots_schema(),
            "lastRebalance": _last_rebalance_schema(),
            "selector": _text("Label selector of the pods, for the scale subresource."),
            "members": _text("Serving masters / replicas in sync."),
            "slots": {
                "type": "integer",
                "format": "int32",
                "description": "Slots that are served, of 16384.",
            },
            "memory": _text("Share of maxmemory used by the fullest member."),
            "figuresChangedAt": _text("When a figure in `shards` last changed."),
            "conditions": {
                "type": "array",
                "description": "kstatus conditions and one for each aspect.",
                "items": _condition_schema(),
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
            "shards": {"type": "array", "description": "One row for each shard.", "items": _shard_schema()},
            "blockers": _blockers_schema(),
            "unknownDirectives": {
                "type": "array",
                "description": "Directives of spec.config that the servers do not know; left out.",
                "items": {"type": "string"},
            },
            "refusedDirectives": {
                "type": "array",
                "description": "Directives of spec.config whose value a server refuses; not in redis.conf.",
                "items": {
                    "type": "object",
                    "properties": {
                        "directive": _text("Its name."),
                        "value": _text("The value of the spec."),
                        "message": _text("What the server answered."),
                    },
                },
            },
            "notes": {
                "type": "array",
                "description": "What limits the operator here, without keeping it from its work.",
                "items": {"type": "string"},
            },
            "lastFailover": _last_failover_schema(),
            "lastSwitchover": _last_switchover_schema(),
        },
    }


def _moves_schema() -> Schema:
    row = {
        "type": "object",
        "properties": {
            "from": _count("Shard that gives the slots."),
            "to": _count("Shard that gets them."),
            "slots": _text("The slots."),
            "count": _number("Number of slots."),
            "keys": _number("Keys in them when the move was planned."),
            "state": _text("Waiting, Moving or Moved."),
            "failures": _number("How often it failed."),
            "message": _text("Why it failed last."),
            "retryAt": _text("When it is begun again."),
        },
    }
    return {
        "type": "array",
        "description": "Slots that move or are to move; one row for each pair of shards.",
        "items": row,
    }


def _open_slots_schema() -> Schema:
    row = {
        "type": "object",
        "properties": {
            "pod": _text("Pod of the master that has it open."),
            "slot": _count("The slot."),
            "since": _text("When it was first seen open."),
        },
    }
    return {"type": "array", "description": "Slots that CLUSTER SETSLOT left open.", "items": row}


def _last_rebalance_schema() -> Schema:
    return {
        "type": "object",
        "description": "The last request by annotation redoubt.dev/rebalance and what came of it.",
        "properties": {
            "request": _text("The annotation's value."),
            "result": _text("Accepted, Done or Refused."),
            "message": _text("What moves, or why nothing does."),
            "at": _text("When the result became this one."),
        },
    }


def _condition_schema() -> Schema:
    return {
        "type": "object",
        "required": ["type", "status", "lastTransitionTime", "reason", "message"],
        "properties": {
            "type": {"type": "string"},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": {"type": "string"},
            "message": {"type": "string"},
            "observedGeneration": {"type": "integer", "format": "int64"},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
        },
    }


def _blockers_schema() -> Schema:
    return {
        "type": "array",
        "description": "Why the operator does not go on, what shows it, and what to do.",
        "items": {
            "type": "object",
            "properties": {
                "reason": _text("One word."),
                "evidence": _text("What was seen."),
                "hint": _text("What helps."),
                "shard": {
                    "type": "integer",
                    "format": "int32",
                    "description": "The shard concerned.",
                },
            },
        },
    }


def _last_failover_schema() -> Schema:
    return {
        "type": "object",
        "description": "The last change of a master, planned or not.",
        "properties": {
            "shard": {"type": "integer", "format": "int32", "description": "The shard."},
            "at": _text("When the new master served."),
            "from": _text("Pod of the old master."),
            "to": _text("Pod of the new master."),
            "unavailableSeconds": _text("Measured time without a serving master."),
        },
    }


def _last_switchover_schema() -> Schema:
    return {
        "type": "object",
        "description": "The last request by annotation redoubt.dev/switchover and what came of it.",
        "properties": {
            "request": _text("The annotation's value."),
            "result": _text("Accepted, Done, Refused or Failed."),
            "message": _text("Why, in words."),
            "at": _text("When the result became this one."),
            "shard": {"type": "integer", "format": "int32", "description": "The shard."},
            "from": _text("Pod of the master at the request."),
            "to": _text("Pod that was to take over."),
        },
    }


def _shard_schema() -> Schema:
    member = {
        "type": "object",
        "properties": {
            "pod": _text("Name of the pod."),
            "state": _text("Serving, InSync, Syncing, LinkDown, Awaiting, Yielding, Loading, Starting, ..."),
            "role": _text("master or replica."),
            "node": _text("The Kubernetes node."),
            "nodeId": _text("The cluster node id."),
            "restarts": _number("Restarts of the container when it was last seen."),
            "memory": _number("Share of maxmemory in percent."),
            "memoryUsed": _text("Memory used."),
            "hitRate": _number("Lookups that found their key, in percent."),
            "evictedPerSecond": _number("Keys evicted per second."),
            "keys": _number("Keys."),
            "resumedEmpty": {"type": "boolean", "description": "It serves again without the data it had."},
            "divergedCopy": _text("File that keeps data which a failover cut off."),
        },
    }
    return {
        "type": "object",
        "properties": {
            "shard": {"type": "integer", "format": "int32", "description": "Index of the shard."},
            "state": _text("Serving, NoMaster, Forming, Joining, Draining or Leaving."),
            "slots": _text("Slots of the shard."),
            "master": _text("Pod of the master, or of the last one while none serves."),
            "dataLost": {
                "type": "boolean",
                "description": "No copy of the data is left; it will begin anew.",
            },
            "members": {"type": "array", "description": "One row for each pod.", "items": member},
        },
    }


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


def _count(description: str) -> Schema:
    return {"type": "integer", "format": "int32", "description": description}


def _number(description: str) -> Schema:
    return {"type": "integer", "format": "int64", "description": description}
