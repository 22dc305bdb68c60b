"""`kubectl redoubt status NAME`: one screen that tells a person how a cluster is.

    NAME    cache (namespace shop)        PHASE  Running
    all 16384 slots are served; 3 of 3 replicas are in sync
    ...
    SHARD  SLOTS    POD          ROLE     STATE    NODE   ZONE  MEMORY          KEYS ...
    0      0-5460   cache-0-0    master   Serving  node-1  a    12Mi/51Mi  23%  ...
                    └ cache-0-1  replica  InSync   node-2  b    ...

First what is wrong (blockers with their hints, conditions that are not as they should be), then every shard
with its replicas nested under its master. The resource's status says what is what; the figures are asked of
the pods themselves, through the API server, and where that is not possible they are those of the status,
which are up to half a minute old; the last line says which.

`kubectl redoubt switchover NAME SHARD[/POD]` and `rebalance NAME` give orders (orders.py). Runs on a person's
machine with their kubeconfig and rights; `status` only reads. `Screen` and `draw` are pure.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from redoubt_operator import orders
from redoubt_operator.kube import CLUSTERS, NODES, ApiError, Json, Kube, connect
from redoubt_operator.monitor import EVICTED, HITS, KEYS, LIMIT, MISSES, SERIES, USED, read_series
from redoubt_operator.names import PORT_METRICS
from redoubt_operator.projection import LABEL_ZONE

PODS_ASKED_AT_ONCE_MAX: Final = 32
POD_TIMEOUT_S: Final = 2.0
MIB: Final = 1024 * 1024
# How the conditions of a healthy cluster stand; others are shown.
EXPECTED: Final = {
    "Ready": "True",
    "Reconciling": "False",
    "Stalled": "False",
    "SlotsCovered": "True",
    "ReplicationHealthy": "True",
    "MemoryHealthy": "True",
    "Evicting": "False",
    "ConfigApplied": "True",
    "Paused": "False",
    "DataLost": "False",
}


def main() -> None:
    """Run `kubectl-redoubt` with the process's arguments."""
    chosen = _parser().parse_args()
    try:
        if chosen.verb != "status":
            _give(chosen)
            return
        screen = asyncio.run(look(chosen.kubeconfig, chosen.namespace, chosen.name))
    except ApiError as error:
        sys.exit(f"kubectl redoubt: {error}")
    if screen is None:
        sys.exit(f"kubectl redoubt: there is no RedoubtCluster {chosen.name} in namespace {chosen.namespace}")
    draw(screen, Console())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubectl redoubt", description="Shows RedoubtClusters to people, and gives their orders."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, about in (
        ("status", "one screen about one cluster"),
        ("switchover", "give a shard another master, and wait for it"),
        ("rebalance", "balance the slots by bytes and load, and wait for it"),
    ):
        added = verbs.add_parser(verb, help=about, description=about)
        added.add_argument("name", help="name of the RedoubtCluster")
        if verb == "switchover":
            added.add_argument("where", metavar="SHARD[/POD]", help="the shard, and who is to serve it")
        added.add_argument("-n", "--namespace", default="default")
        added.add_argument("--kubeconfig", default=os.environ.get("KUBECONFIG", "~/.kube/config"))
    return parser


def _give(chosen: argparse.Namespace) -> None:
    """Give an order; the exit status says whether it was followed."""
    token = str(time.time_ns())
    order = orders.switchover(chosen.where, token) if chosen.verb == "switchover" else orders.rebalance(token)

    async def give() -> orders.Outcome:
        kube = await connect(chosen.kubeconfig)
        try:
            return await orders.give(kube, chosen.namespace, chosen.name, order)
        finally:
            await kube.close()

    outcome = asyncio.run(give())
    if not outcome.is_good:
        sys.exit(f"kubectl redoubt: {outcome.text}")
    print(outcome.text)


@dataclass(frozen=True, slots=True)
class Screen:
    """Everything that is shown: the resource, live figures by pod, and zones by node."""

    manifest: Json
    figures: Mapping[str, Mapping[str, float]]
    zones: Mapping[str, str]


async def look(kubeconfig: str, namespace: str, name: str) -> Screen | None:
    """Read the resource, its pods' figures and the zones of their nodes; None when there is no resource."""
    kube = await connect(kubeconfig)
    try:
        manifest = await kube.get(CLUSTERS, namespace, name)
        if manifest is None:
            return None
        members = members_of(manifest)
        gate = asyncio.Semaphore(PODS_ASKED_AT_ONCE_MAX)

        async def figures(pod: str) -> Mapping[str, float]:
            async with gate:
                return await _figures(kube, namespace, pod)

        pods = [str(member["pod"]) for member in members]
        nodes = sorted({str(member["node"]) for member in members if "node" in member})
        found = await asyncio.gather(*(figures(pod) for pod in pods))
        zones = await asyncio.gather(*(_zone(kube, node) for node in nodes))
    finally:
        await kube.close()
    return Screen(manifest, dict(zip(pods, found, strict=True)), dict(zip(nodes, zones, strict=True)))


async def _figures(kube: Kube, namespace: str, pod: str) -> Mapping[str, float]:
    query = [("name[]", series) for series in SERIES]
    try:
        return read_series(await kube.ask_pod(namespace, pod, PORT_METRICS, "/metrics", query, POD_TIMEOUT_S))
    except ApiError:
        return {}


async def _zone(kube: Kube, node: str) -> str:
    try:
        manifest = await kube.get(NODES, "", node)
    except ApiError:
        return ""
    labels = ((manifest or {}).get("metadata") or {}).get("labels") or {}
    return str(labels.get(LABEL_ZONE, ""))


def members_of(manifest: Json) -> list[Json]:
    """List the members of all shards as the status has them."""
    rows = (manifest.get("status") or {}).get("shards") or []
    return [member for row in rows for member in row.get("members") or []]


def draw(screen: Screen, console: Console) -> None:
    """Print the screen."""
    metadata, status = screen.manifest["metadata"], screen.manifest.get("status") or {}
    console.print(_headline(metadata, status))
    console.print(Text(str(status.get("message", "the operator has not looked at it yet"))))
    for line in problems(status):
        console.print(Text(line, style="yellow"))
    if failover := failover_line(status):
        console.print(Text(failover))
    for line in move_lines(status):
        console.print(Text(line))
    console.print(_table(screen, status.get("shards") or []))
    pods = [str(member["pod"]) for member in members_of(screen.manifest)]
    silent = [pod for pod in pods if not screen.figures.get(pod)]
    if silent:
        console.print(Text(f"figures of the last status for {len(silent)} of {len(pods)} pods", style="dim"))
    if status.get("observedGeneration") != metadata.get("generation"):
        console.print(Text("the operator has not seen the newest spec yet", style="yellow"))


def _headline(metadata: Json, status: Json) -> Text:
    phase = str(status.get("phase", "Unknown"))
    style = "bold green" if phase == "Running" else "bold yellow"
    where = f" (namespace {metadata['namespace']})"
    slots = f"{status.get('slots', 0)} slots"
    return Text.assemble(
        (metadata["name"], "bold"),
        where,
        "   ",
        (phase, style),
        f"   {slots}, {status.get('members', '0/0')} masters/replicas",
    )


def problems(status: Json) -> list[str]:
    """Return what to know first: blockers with hints, then conditions that are not as expected."""
    lines = []
    for blocker in status.get("blockers") or []:
        shard = f"shard {blocker['shard']}: " if "shard" in blocker else ""
        lines.append(f"! {shard}{blocker['reason']}: {blocker['evidence']}")
        if blocker.get("hint"):
            lines.append(f"  {blocker['hint']}")
    for condition in status.get("conditions") or []:
        expected = EXPECTED.get(condition["type"])
        if expected is not None and condition["status"] != expected:
            lines.append(f"! {condition['type']} is {condition['status']}: {condition.get('message', '')}")
    return lines


def failover_line(status: Json) -> str:
    """Return a sentence about the last failover, empty when there was none."""
    last = status.get("lastFailover") or {}
    if not last:
        return ""
    return (
        f"last failover: shard {last.get('shard')} from {last.get('from', '?')} to {last.get('to', '?')} "
        f"at {last.get('at')}, {last.get('unavailableSeconds')} s without a master"
    )


def move_lines(status: Json) -> list[str]:
    """Return what moves where, and how the last balance on request ended."""
    lines = []
    for move in status.get("moves") or []:
        keys = f", {move['keys']} keys" if "keys" in move else ""
        failed = f", failed {move['failures']} times: {move.get('message')}" if move.get("failures") else ""
        lines.append(
            f"move: {move['count']} slots{keys} from shard {move['from']} to shard {move['to']}: "
            f"{move['state']}{failed}"
        )
    last = status.get("lastRebalance") or {}
    if last:
        lines.append(f"rebalance {last.get('request')!r}: {last.get('result')}, {last.get('message')}")
    return lines


COLUMNS: Final = (
    "SHARD",
    "SLOTS",
    "POD",
    "ROLE",
    "STATE",
    "NODE",
    "ZONE",
    "MEMORY",
    "",
    "KEYS",
    "HITS",
    "EVICTED",
    "RESTARTS",
)
RIGHT: Final = frozenset({"MEMORY", "", "KEYS", "HITS", "EVICTED", "RESTARTS"})


def _table(screen: Screen, rows: Sequence[Json]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in RIGHT else "left", no_wrap=True)
    for row in rows:
        for cells in shard_lines(screen, row):
            style = "" if cells[4] in ("Serving", "InSync") else "yellow"
            table.add_row(*cells, style=style)
    return table


def shard_lines(screen: Screen, row: Json) -> list[list[str]]:
    """Return the cells of a shard's lines: its master first, the others nested under it."""
    members = sorted(row.get("members") or [], key=lambda member: member["pod"] != row.get("master"))
    lines = []
    for number, member in enumerate(members):
        head = [str(row["shard"]), str(row.get("slots", ""))] if number == 0 else ["", ""]
        is_nested = number > 0 or member["pod"] != row.get("master")
        node = str(member.get("node", ""))
        lines.append(
            [
                *head,
                f"{'└ ' if is_nested else ''}{member['pod']}",
                str(member.get("role", "")),
                str(member.get("state", "")),
                node,
                screen.zones.get(node, ""),
                *figure_cells(screen.figures.get(member["pod"]) or {}, member),
                str(member.get("restarts", "")),
            ]
        )
    return lines


def figure_cells(live: Mapping[str, float], member: Json) -> list[str]:
    """Return memory, its share, keys, hit rate and evicted keys: live, or else as the status has them."""
    if not live:
        share, hits = member.get("memory"), member.get("hitRate")
        return [
            str(member.get("memoryUsed", "")),
            "" if share is None else f"{share}%",
            str(member.get("keys", "")),
            "" if hits is None else f"{hits}%",
            "" if "evictedPerSecond" not in member else f"{member['evictedPerSecond']}/s",
        ]
    used, limit = live.get(USED, 0.0), live.get(LIMIT, 0.0)
    lookups = live.get(HITS, 0.0) + live.get(MISSES, 0.0)
    return [
        f"{used / MIB:.0f}Mi/{limit / MIB:.0f}Mi" if limit else f"{used / MIB:.0f}Mi",
        f"{100 * used / limit:.0f}%" if limit else "",
        f"{live.get(KEYS, 0.0):.0f}",
        f"{100 * live.get(HITS, 0.0) / lookups:.0f}%" if lookups else "",
        f"{live.get(EVICTED, 0.0):.0f}",
    ]


if __name__ == "__main__":
    main()
