"""Directives that running servers take over: compared with what they report, set where they differ.

Each member says with CONFIG GET what it runs with. A directive that it does not know, or that it still
reports otherwise a minute after it was first sent, is not sent again and again: condition ConfigApplied then
names it. A value that a server refuses becomes a blocker with the server's own words, and never reaches
redis.conf.

Called by plan once for the cluster.
"""

from dataclasses import dataclass
from typing import Final

from redoubt_operator import directives
from redoubt_operator.actions import SetConfig
from redoubt_operator.draft import WAITING_S, Blocker, Draft, target
from redoubt_operator.observation import ConfigRefusal, Unknown
from redoubt_operator.spec import ClusterSpec
from redoubt_operator.view import ClusterView, Server

TRIAL_S: Final = 5.0  # a value that was neither taken over nor refused by now is merely printed differently
PATIENCE_S: Final = 60.0  # after this a server that reports another value has refused ours

_UNITS: Final = {"b": 1, "k": 1000, "kb": 1024, "m": 10**6, "mb": 1024**2, "g": 10**9, "gb": 1024**3}


@dataclass(frozen=True, slots=True)
class Difference:
    """A directive with which a member does not run as wanted; `found` is None when it does not know it."""

    pod: str
    directive: str
    wanted: str
    found: str | None

    def __str__(self) -> str:
        found = "does not know it" if self.found is None else f"has {self.found!r}"
        return f"{self.directive} {self.wanted!r}: pod {self.pod} {found}"


@dataclass(frozen=True, slots=True)
class Refused:
    """A directive of `spec.config` whose value a server has refused, with the server's own words."""

    directive: str
    value: str
    message: str


def apply_live(spec: ClusterSpec, view: ClusterView, draft: Draft, unheeded: str) -> tuple[Difference, ...]:
    """Send what differs to every member that was seen; returns all differences.

    `unheeded` is the text of differences that have lasted too long to be sent once more. What a server has
    refused is not sent to it again; who refused several at once gets them one by one, to learn which it was.
    """
    differences: list[Difference] = []
    for server in view.seen_servers:
        found = _differences(server, _wanted(spec, server))
        differences += found
        answered = {one.directives: one.text for one in view.seen.refusals if one.pod_uid == server.pod.uid}
        settable = tuple(
            (one.directive, one.wanted)
            for one in found
            if one.found is not None
            and str(one) not in unheeded
            and server.is_staying
            and ((one.directive, one.wanted),) not in answered
        )
        if settable:
            because = "; ".join(str(one) for one in found)
            draft.look_again(WAITING_S)
            sets = [(pair,) for pair in settable] if settable in answered else [settable]
            draft.actions += [SetConfig(target(server), one, because, server.shard) for one in sets]
    for one in refused_directives(spec, view):
        draft.block(
            Blocker(
                "ConfigRefused",
                f"{one.directive} {one.value!r}: {one.message}",
                f"correct spec.config.{one.directive}; redis.conf keeps the value before it until then",
                is_stalling=True,
            )
        )
    return tuple(differences)


def refused_directives(spec: ClusterSpec, view: ClusterView) -> tuple[Refused, ...]:
    """Directives of `spec.config` that servers have refused: by what they just said, and by the status.

    The status keeps them, so that a restarted operator does not write them into redis.conf and have the next
    restarted server refuse to start. An entry ends when the spec changes or a server reports the value.
    """
    told = {one.directives[0]: _of_pod(view, one) for one in view.seen.refusals if len(one.directives) == 1}
    for row in view.seen.status.get("refusedDirectives") or ():
        told.setdefault((str(row.get("directive")), str(row.get("value"))), str(row.get("message")))
    return tuple(
        Refused(name, value, text)
        for (name, value), text in sorted(told.items())
        if spec.config.get(name) == value and not _is_reported(view, name, value)
    )


def unsettled_directives(spec: ClusterSpec, view: ClusterView, *, is_tried: bool) -> frozenset[str]:
    """Directives of `spec.config` that stay in redis.conf as they are: refused, or not tried for long enough.

    A value that a server refuses when it is told would keep the next one from starting.
    """
    names = {one.directive for one in refused_directives(spec, view)}
    if view.seen_servers and not is_tried:
        live = directives.live_directives(spec)
        names |= {
            name
            for name, value in spec.config.items()
            if name in live and not _is_reported(view, name, value)
        }
    return frozenset(names)


def unknown_directives(spec: ClusterSpec, view: ClusterView) -> tuple[str, ...]:
    """Directives of `spec.config` that a server has said it does not know, as the status keeps them."""
    answers = [one.config for one in view.seen_servers if not isinstance(one.config, Unknown) and one.config]
    if not answers:
        recorded = view.seen.status.get("unknownDirectives") or ()
        return tuple(name for name in recorded if name in spec.config)
    asked = directives.watched(spec)
    return tuple(
        name for name in sorted(spec.config) if name in asked and any(name not in one for one in answers)
    )


def _wanted(spec: ClusterSpec, server: Server) -> dict[str, str]:
    """The live directives for one member: maxmemory by the limit that its own container has.

    While a roll brings another limit, a pod that still has the old one must not be told to use more.
    """
    wanted = directives.live_directives(spec)
    limit = server.pod.memory_limit_bytes
    if limit is not None and "maxmemory" not in spec.config:
        wanted["maxmemory"] = str(directives.maxmemory_for(spec, limit))
    return wanted


def _is_reported(view: ClusterView, name: str, value: str) -> bool:
    """Whether a member runs with this value."""
    configs = (one.config for one in view.seen_servers if not isinstance(one.config, Unknown))
    return any(name in one and _canonical(one[name]) == _canonical(value) for one in configs)


def _of_pod(view: ClusterView, refusal: ConfigRefusal) -> str:
    pod = next((one.pod.name for one in view.servers if one.pod.uid == refusal.pod_uid), "a pod")
    return f"{pod} answered {refusal.text}"


def _differences(server: Server, wanted: dict[str, str]) -> list[Difference]:
    if isinstance(server.config, Unknown) or (server.status is not None and server.status.loading):
        return []
    return [
        Difference(server.pod.name, name, value, server.config.get(name))
        for name, value in wanted.items()
        if name not in server.config or _canonical(server.config[name]) != _canonical(value)
    ]


def _canonical(value: str) -> str:
    """A value as it compares: letter case, spaces and units of memory do not matter."""
    words = value.lower().strip('"').split()
    return " ".join(_bytes(word) for word in words)


def _bytes(word: str) -> str:
    digits = word.rstrip("bkmg")
    unit = word[len(digits) :]
    return str(int(digits) * _UNITS[unit]) if digits.isdigit() and unit in _UNITS else word
