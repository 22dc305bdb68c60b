"""The typed spec of a RedoubtCluster: every field with its default, description and limits.

One frozen dataclass per object of the spec is the single declaration: the CRD's schema, docs/api.md and the
reading code come from it. Defaults live here and nowhere else; the API server does not write them into the
resource, so that what people apply and what GitOps compares stay the same.

`read_spec` never raises on what a person wrote: what the CRD's rules could not refuse comes back as
`InvalidSpec`, which becomes condition Stalled with these messages.
"""

import re
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

from redoubt_operator import quantity
from redoubt_operator.names import GROUP
from redoubt_operator.reserved import RESERVED

SHARDS_MAX: Final = 100
REPLICAS_MAX: Final = 5
CONFIG_ENTRIES_MAX: Final = 100  # CEL needs a bound to estimate the cost of a rule
DEFAULT_ZONE_LABEL: Final = "topology.kubernetes.io/zone"
DEFAULT_IMAGE: Final = "redoubt-server:0.1.0"

_DIRECTIVE: Final = re.compile(r"^[a-z][a-z0-9-]*$")

Json: TypeAlias = Any
T = TypeVar("T")


class EvictionPolicy(StrEnum):
    """What goes when maxmemory is reached; Redis's maxmemory-policy."""

    NOEVICTION = "noeviction"
    ALLKEYS_LRU = "allkeys-lru"
    VOLATILE_LRU = "volatile-lru"
    ALLKEYS_LFU = "allkeys-lfu"
    VOLATILE_LFU = "volatile-lfu"
    ALLKEYS_RANDOM = "allkeys-random"
    VOLATILE_RANDOM = "volatile-random"
    VOLATILE_TTL = "volatile-ttl"


class Reclaim(StrEnum):
    """What happens to volumes when the resource is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class PersistenceMode(StrEnum):
    """Whether and how data are written to /data."""

    NONE = "none"
    RDB = "rdb"
    AOF = "aof"


class Fsync(StrEnum):
    """When the append-only file is synced; Redis's appendfsync."""

    ALWAYS = "always"
    EVERYSEC = "everysec"
    NO = "no"


class AntiAffinity(StrEnum):
    """How strictly the members of a shard avoid each other's node."""

    PREFERRED = "Preferred"
    REQUIRED = "Required"
    NONE = "None"


class SpreadRule(StrEnum):
    """How strictly the members of a shard stay apart."""

    REQUIRED = "Required"
    PREFERRED = "Preferred"
    OFF = "Off"


class MasterSpread(StrEnum):
    """Whether masters are kept even over zones and nodes."""

    PREFERRED = "Preferred"
    OFF = "Off"


def _about(description: str, **schema: Any) -> dict[str, Any]:
    """Metadata of a spec field: its description, and the keywords that become its schema."""
    return {"description": description, "schema": schema}


@dataclass(frozen=True, slots=True)
class Resources:
    """Requests and limits of the container `server`."""

    requests: Mapping[str, str] = field(
        default_factory=dict, metadata=_about("Requested cpu and memory.", quantities=True)
    )
    limits: Mapping[str, str] = field(
        default_factory=dict,
        metadata=_about("Limits of cpu and memory. maxmemory is derived from memory.", quantities=True),
    )


@dataclass(frozen=True, slots=True)
class Memory:
    """How much of the container's memory holds data, and what happens when it is full."""

    percent_of_limit: int | None = field(
        default=None,
        metadata=_about(
            "maxmemory as a share of the memory limit. Without it the operator subtracts what the process, "
            "its buffers and a snapshot need.",
            minimum=10,
            maximum=90,
        ),
    )
    eviction_policy: EvictionPolicy = field(
        default=EvictionPolicy.NOEVICTION, metadata=_about("What is evicted when maxmemory is reached.")
    )


@dataclass(frozen=True, slots=True)
class Storage:
    """A volume for each member."""

    size: str = field(
        default="",
        metadata=_about(
            "Size of each volume. It can grow, never shrink.", required=True, quantity=True, max_length=32
        ),
    )
    class_name: str | None = field(
        default=None,
        metadata=_about("StorageClass; without it the cluster's default class.", max_length=253),
    )
    reclaim: Reclaim = field(
        default=Reclaim.RETAIN,
        metadata=_about(
            "What happens to the volumes when the resource is deleted: Retain keeps them, and a resource "
            "of the same name adopts them again; Delete removes them."
        ),
    )


@dataclass(frozen=True, slots=True)
class Persistence:
    """How data are written to /data."""

    mode: PersistenceMode | None = field(
        default=None,
        metadata=_about(
            "none, rdb (a snapshot at shutdown and at the save points `3600 1 300 100 60 10000`, or those of "
            "config.save) or aof (an append-only file, and the snapshots). Applied to running servers. "
            "Without it: rdb when there is storage, else none. Without storage data live as long as the pod."
        ),
    )
    fsync: Fsync = field(
        default=Fsync.EVERYSEC, metadata=_about("When the append-only file is synced (mode aof).")
    )


@dataclass(frozen=True, slots=True)
class Auth:
    """Where the password comes from."""

    secret_name: str | None = field(
        default=None,
        metadata=_about(
            "Secret with the key `password`. Without it `<name>-auth` is generated.",
            min_length=1,
            max_length=253,
        ),
    )


@dataclass(frozen=True, slots=True)
class Spread:
    """Over what members and masters spread."""

    nodes: SpreadRule | None = field(
        default=None,
        metadata=_about(
            "Members of one shard on different nodes: Required (a member without such a node stays "
            "Pending), Preferred or Off. Without it `placement.antiAffinity` says so: Preferred."
        ),
    )
    zones: SpreadRule | None = field(
        default=None,
        metadata=_about(
            "Members of one shard in different zones, likewise. Without it Preferred when "
            "`placement.zoneKey` is given, else Off."
        ),
    )
    masters: MasterSpread = field(
        default=MasterSpread.PREFERRED,
        metadata=_about(
            "Preferred: masters are kept even over zones, then over nodes, by one switchover at a time "
            "while nothing else happens. Off: they stay where they are."
        ),
    )


@dataclass(frozen=True, slots=True)
class Placement:
    """How members spread over nodes and zones."""

    anti_affinity: AntiAffinity = field(
        default=AntiAffinity.PREFERRED,
        metadata=_about(
            "Whether the members of one shard avoid each other's node; `spread.nodes` goes before it."
        ),
    )
    zone_key: str | None = field(
        default=None,
        metadata=_about(
            "Node label whose values are the zones; topology.kubernetes.io/zone without it.",
            min_length=1,
            max_length=317,
        ),
    )
    spread: Spread = field(default_factory=Spread, metadata=_about("Over what members and masters spread."))

    @property
    def nodes_rule(self) -> SpreadRule:
        if self.spread.nodes is not None:
            return self.spread.nodes
        return SpreadRule.OFF if self.anti_affinity is AntiAffinity.NONE else SpreadRule(self.anti_affinity)

    @property
    def zones_rule(self) -> SpreadRule:
        if self.spread.zones is not None:
            return self.spread.zones
        return SpreadRule.OFF if self.zone_key is None else SpreadRule.PREFERRED

    @property
    def zone_label(self) -> str:
        return self.zone_key or DEFAULT_ZONE_LABEL


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """What is merged into every pod."""

    labels: Mapping[str, str] = field(
        default_factory=dict, metadata=_about("Further labels; redoubt.dev/* is reserved.")
    )
    annotations: Mapping[str, str] = field(
        default_factory=dict, metadata=_about("Further annotations; redoubt.dev/* is reserved.")
    )
    node_selector: Mapping[str, str] = field(default_factory=dict, metadata=_about("nodeSelector."))
    tolerations: tuple[Json, ...] = field(default=(), metadata=_about("tolerations.", max_items=50))
    affinity: Mapping[str, Json] = field(
        default_factory=dict,
        metadata=_about("affinity. A podAntiAffinity here replaces that of `placement`."),
    )
    topology_spread_constraints: tuple[Json, ...] = field(
        default=(), metadata=_about("topologySpreadConstraints, beside that of `placement`.", max_items=20)
    )
    image_pull_secrets: tuple[Json, ...] = field(
        default=(), metadata=_about("imagePullSecrets.", max_items=20)
    )
    image_pull_policy: str | None = field(
        default=None,
        metadata=_about("imagePullPolicy of the container.", enum=("Always", "IfNotPresent", "Never")),
    )
    priority_class_name: str | None = field(
        default=None, metadata=_about("priorityClassName.", max_length=253)
    )
    service_account_name: str | None = field(
        default=None, metadata=_about("serviceAccountName; no token of it is mounted.", max_length=253)
    )
    scheduler_name: str | None = field(default=None, metadata=_about("schedulerName.", max_length=253))
    runtime_class_name: str | None = field(default=None, metadata=_about("runtimeClassName.", max_length=253))
    termination_grace_period_seconds: int | None = field(
        default=None,
        metadata=_about(
            "Time for the handover and the last snapshot after SIGTERM; 30 without it.",
            minimum=5,
            maximum=3600,
        ),
    )
    resources: Resources | None = field(
        default=None, metadata=_about("Requests and limits that are merged over `spec.resources`.")
    )


@dataclass(frozen=True, slots=True)
class Update:
    """How much is changed at the same time when the spec changes."""

    shards_at_once: int = field(
        default=4,
        metadata=_about(
            "Shards that a rolling update works in at the same time, once its first pod serves well. Each "
            "costs its master a full sync.",
            minimum=1,
            maximum=SHARDS_MAX,
        ),
    )
    moves_at_once: int = field(
        default=2,
        metadata=_about(
            "Moves of slots between two shards that run at the same time when the number of shards changes. "
            "A shard gives to one other at a time; each move costs both masters time and memory.",
            minimum=1,
            maximum=SHARDS_MAX,
        ),
    )


@dataclass(frozen=True, slots=True)
class Monitor:
    """How often the members' metrics are scraped."""

    interval_seconds: int = field(
        default=5, metadata=_about("Seconds between two scrapes of a member.", minimum=1, maximum=300)
    )


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """What is wanted of a cluster."""

    shards: int = field(
        default=3,
        metadata=_about(
            "Number of shards; each has one master. It may change at any time: slots move with their keys, "
            "and a shard goes when it is empty, the highest first.",
            minimum=1,
            maximum=SHARDS_MAX,
        ),
    )
    replicas_per_shard: int = field(
        default=1, metadata=_about("Replicas of each master.", minimum=0, maximum=REPLICAS_MAX)
    )
    image: str = field(
        default=DEFAULT_IMAGE, metadata=_about("Image of the server.", min_length=1, max_length=500)
    )
    resources: Resources = field(
        default_factory=Resources, metadata=_about("Requests and limits of the container `server`.")
    )
    memory: Memory = field(
        default_factory=Memory, metadata=_about("Share of the memory for data, and eviction.")
    )
    storage: Storage | None = field(
        default=None,
        metadata=_about("A volume for each member; without it data live as long as the pod."),
    )
    persistence: Persistence = field(
        default_factory=Persistence, metadata=_about("How data are written to /data.")
    )
    config: Mapping[str, str] = field(
        default_factory=dict,
        metadata=_about(
            "Directives of redis.conf. Those that the operator sets are refused.",
            max_properties=CONFIG_ENTRIES_MAX,
            value_max_length=1000,
        ),
    )
    auth: Auth = field(default_factory=Auth, metadata=_about("Where the password comes from."))
    placement: Placement = field(
        default_factory=Placement, metadata=_about("How members spread over nodes and zones.")
    )
    update: Update = field(
        default_factory=Update, metadata=_about("How pods are replaced when the spec changes.")
    )
    pod_template: PodTemplate = field(
        default_factory=PodTemplate, metadata=_about("What is merged into every pod.")
    )
    monitor: Monitor = field(default_factory=Monitor, metadata=_about("Scraping of the members' metrics."))

    @property
    def members_per_shard(self) -> int:
        return 1 + self.replicas_per_shard

    @property
    def persistence_mode(self) -> PersistenceMode:
        if self.persistence.mode is not None:
            return self.persistence.mode
        return PersistenceMode.RDB if self.storage is not None else PersistenceMode.NONE


@dataclass(frozen=True, slots=True)
class InvalidSpec:
    """A spec that cannot be read, with one message per fault: path, what was expected, what was found."""

    messages: tuple[str, ...]


def read_spec(raw: Mapping[str, Any]) -> ClusterSpec | InvalidSpec:
    """Read .spec as the API server stores it. Unknown fields are ignored: the schema prunes them."""
    faults: list[str] = []
    spec = cast(ClusterSpec, _read_object(ClusterSpec, raw, "spec", faults))
    if not faults:
        _check_config(spec.config, faults)
        _check_labels(spec.pod_template, faults)
    return InvalidSpec(tuple(faults)) if faults else spec


def camel(name: str) -> str:
    """`replicas_per_shard` as the API writes it: `replicasPerShard`."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


@cache
def spec_fields(cls: Any) -> tuple[tuple[Field[Any], Any], ...]:
    """The fields of a spec class with their resolved types, in order."""
    hints = get_type_hints(cls)
    return tuple((one, hints[one.name]) for one in fields(cls))


def without_none(hint: Any) -> Any:
    """`X` of `X | None`; any other type as it is."""
    if get_origin(hint) is UnionType:
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    return hint


def _read_object(cls: type[T], raw: Any, path: str, faults: list[str]) -> T | None:
    if not isinstance(raw, Mapping):
        faults.append(f"{path}: expected an object, found {raw!r}")
        return None
    values: dict[str, Any] = {}
    for one, hint in spec_fields(cast(Hashable, cls)):
        where = f"{path}.{camel(one.name)}"
        found = raw.get(camel(one.name))
        if found is not None:
            values[one.name] = _read_value(without_none(hint), found, where, one.metadata["schema"], faults)
        elif one.metadata["schema"].get("required"):
            faults.append(f"{where}: is required")
    return cls(**values)


def _read_value(hint: Any, found: Any, where: str, schema: Mapping[str, Any], faults: list[str]) -> Any:
    origin = get_origin(hint)
    if is_dataclass(hint):
        return _read_object(cast(type, hint), found, where, faults)
    if origin is tuple:
        if isinstance(found, list):
            return tuple(found)
        faults.append(f"{where}: expected a list, found {found!r}")
        return ()
    if origin is not None:
        return _read_map(found, where, schema, faults)
    if issubclass(hint, StrEnum):
        if found in list(hint):
            return hint(found)
        faults.append(f"{where}: expected one of {', '.join(hint)}, found {found!r}")
        return next(iter(hint))
    if hint is int:
        return _read_int(found, where, schema, faults)
    if not isinstance(found, str) and not (schema.get("quantity") and isinstance(found, int)):
        faults.append(f"{where}: expected a string, found {found!r}")
        return ""
    if schema.get("quantity"):
        _check_quantity(str(found), where, faults)
    if "enum" in schema and found not in schema["enum"]:
        faults.append(f"{where}: expected one of {', '.join(schema['enum'])}, found {found!r}")
    return str(found)


def _read_int(found: Any, where: str, schema: Mapping[str, Any], faults: list[str]) -> int:
    low, high = schema.get("minimum"), schema.get("maximum")
    is_int = isinstance(found, int) and not isinstance(found, bool)
    if not is_int or (low is not None and found < low) or (high is not None and found > high):
        faults.append(f"{where}: expected a whole number from {low} to {high}, found {found!r}")
        return 0
    return cast(int, found)


def _read_map(found: Any, where: str, schema: Mapping[str, Any], faults: list[str]) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        faults.append(f"{where}: expected an object, found {found!r}")
        return {}
    if schema.get("quantities"):
        for key, value in found.items():
            _check_quantity(str(value), f"{where}.{key}", faults)
        return {key: str(value) for key, value in found.items()}
    return dict(found)


def _check_config(config: Mapping[str, Any], faults: list[str]) -> None:
    for name, value in config.items():
        if not _DIRECTIVE.match(name):
            faults.append(f"spec.config: expected a directive in lower case, found {name!r}")
        elif name in RESERVED:
            faults.append(f"spec.config.{name}: is set by the operator")
        elif not isinstance(value, str) or any(ord(character) < 32 for character in value):
            faults.append(f"spec.config.{name}: expected one line of text, found {value!r}")


def _check_labels(template: PodTemplate, faults: list[str]) -> None:
    for what, entries in (("labels", template.labels), ("annotations", template.annotations)):
        for name in entries:
            if name.startswith(f"{GROUP}/"):
                faults.append(f"spec.podTemplate.{what}: {name} is reserved")


def _check_quantity(text: str, where: str, faults: list[str]) -> None:
    if quantity.parse(text) is None:
        faults.append(f"{where}: expected a quantity such as 500m, 2 or 1Gi, found {text!r}")


def default_of(one: Field[Any]) -> Any:
    """The default of a spec field, for documentation."""
    if one.default is not MISSING:
        return one.default
    return one.default_factory() if one.default_factory is not MISSING else None
