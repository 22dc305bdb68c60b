"""Directives that running servers take over: compared with what they report, set where they differ.

Each member says with CONFIG GET what it runs with. A directive that it does not know, or that it still
reports otherwise a minute after it was first sent, is not sent again and again: condition ConfigApplied then
names it.

Called by plan once for the cluster.
"""

from dataclasses import dataclass
from typing import Final

from redoubt_operator import directives
from redoubt_operator.actions import SetConfig
from redoubt_operator.draft import WAITING_S, Draft, target
from redoubt_operator.observation import Unknown
from redoubt_operator.spec import ClusterSpec
from redoubt_operator.view import ClusterView, Server

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


def apply_live(spec: ClusterSpec, view: ClusterView, draft: Draft, refused: str) -> tuple[Difference, ...]:
    """Send what differs to every member that was seen; returns all differences.

    `refused` is the text of differences that have lasted too long to be sent once more.
    """
    wanted = directives.live_directives(spec)
    differences: list[Difference] = []
    for server in view.seen_servers:
        found = _differences(server, wanted)
        differences += found
        settable = tuple(
            (one.directive, one.wanted)
            for one in found
            if one.found is not None and str(one) not in refused and server.is_staying
        )
        if settable:
            because = "; ".join(str(one) for one in found)
            draft.look_again(WAITING_S)
            draft.actions.append(SetConfig(target(server), settable, because, server.shard))
    return tuple(differences)


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
