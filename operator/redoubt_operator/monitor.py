"""Watches memory and eviction: scrapes each pod's /metrics and keeps the last minute in memory.

Every `spec.monitor.intervalSeconds` all pods of a cluster are asked at the same time for the few series that
we read (`name[]=`), with a deadline; the answer is scanned line by line, which costs a hundredth of parsing
it as a whole. Rates come from the difference between the oldest and the newest scrape kept; a counter that
went backwards means a restart, and what was before it is dropped.

`History` and the readers are pure; `Monitor` is the loop. It tells the work queue only when something
notable has changed (`News`), and leaves it to the planner what that means for conditions and status:
nothing here raises an alarm. So a frozen server or a change of roles behind our back is noticed within
seconds, and a quiet cluster is not looked at as a whole more often than the resync does.

Figures stay in memory; the API server is no time series database. Series names are those
of the community's redis_exporter, which the server follows.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import aiohttp

from redoubt_operator.metrics import Metrics, PodFigures
from redoubt_operator.names import PORT_METRICS
from redoubt_operator.observation import Sample, Seen, Unknown
from redoubt_operator.settings import MEMBER_DEADLINE_S
from redoubt_operator.workqueue import Key

log = logging.getLogger(__name__)

# At 5 s between scrapes: rates over the last minute.
SCRAPES_KEPT: Final = 13
# All series that we ask for are some hundred bytes; a longer answer is not from our server.
ANSWER_BYTES_MAX: Final = 1 << 20
SCRAPED_AT_ONCE_MAX: Final = 64
# What wakes the planner: the step by which the status moves, and on which the thresholds of conditions lie.
NOTABLE_STEPS: Final = 20

USED: Final = "redis_memory_used_bytes"
LIMIT: Final = "redis_memory_max_bytes"
KEYS: Final = "redis_db_keys"
EVICTED: Final = "redis_evicted_keys_total"
EXPIRED: Final = "redis_expired_keys_total"
COMMANDS: Final = "redis_commands_processed_total"
HITS: Final = "redis_keyspace_hits_total"
MISSES: Final = "redis_keyspace_misses_total"
CLIENTS: Final = "redis_connected_clients"
OFFSET: Final = "redis_master_repl_offset"
SLOTS: Final = "redoubt_cluster_slots"
SYNCED: Final = "redoubt_replica_synced"
SERIES: Final = (USED, LIMIT, KEYS, EVICTED, EXPIRED, COMMANDS, HITS, MISSES, CLIENTS, OFFSET, SLOTS, SYNCED)
_COUNTERS: Final = (EVICTED, EXPIRED, COMMANDS, HITS, MISSES)
QUERY: Final = "&".join(f"name[]={name}" for name in SERIES)


@dataclass(frozen=True, slots=True)
class Target:
    """One pod to scrape. `is_master` is what it said itself at the last look."""

    uid: str
    pod: str
    ip: str
    shard: int
    is_master: bool


def read_series(text: str) -> dict[str, float]:
    """Add up the values of each series of ours over all labels. Unreadable lines are skipped."""
    values: dict[str, float] = {}
    for line in text.splitlines():
        if not line or line[0] == "#":
            continue
        name_end = line.find("{")
        labels_end = line.rfind("}")
        name = line[:name_end] if name_end > 0 else line.partition(" ")[0]
        if name not in SERIES:
            continue
        rest = (line[labels_end + 1 :] if name_end > 0 else line[len(name) :]).split()
        try:
            values[name] = values.get(name, 0.0) + float(rest[0])
        except (IndexError, ValueError):
            continue
    return values


class History:
    """The last scrapes of one pod."""

    def __init__(self) -> None:
        self._scrapes: deque[tuple[float, dict[str, float]]] = deque(maxlen=SCRAPES_KEPT)

    def add(self, taken_at_s: float, values: dict[str, float]) -> None:
        """Keep one scrape; a counter that went backwards means a restart and empties the history before."""
        if self._scrapes:
            last = self._scrapes[-1][1]
            if any(values.get(name, 0.0) < last.get(name, 0.0) for name in _COUNTERS):
                self._scrapes.clear()
        self._scrapes.append((taken_at_s, values))

    def sample(self) -> Sample | None:
        """Make a sample of the newest scrape with the rates of the kept ones; the lag is added by others."""
        if not self._scrapes:
            return None
        first_at_s, first = self._scrapes[0]
        taken_at_s, last = self._scrapes[-1]
        elapsed_s = taken_at_s - first_at_s

        def rate(name: str) -> float:
            return (last.get(name, 0.0) - first.get(name, 0.0)) / elapsed_s if elapsed_s > 0 else 0.0

        hits = last.get(HITS, 0.0) - first.get(HITS, 0.0)
        lookups = hits + last.get(MISSES, 0.0) - first.get(MISSES, 0.0)
        return Sample(
            taken_at_s=taken_at_s,
            used_memory_bytes=int(last.get(USED, 0.0)),
            maxmemory_bytes=int(last.get(LIMIT, 0.0)),
            keys=int(last.get(KEYS, 0.0)),
            evicted_keys=int(last.get(EVICTED, 0.0)),
            evicted_per_s=rate(EVICTED),
            expired_per_s=rate(EXPIRED),
            commands_per_s=rate(COMMANDS),
            hit_ratio=hits / lookups if lookups > 0 else None,
            connected_clients=int(last.get(CLIENTS, 0.0)),
        )

    def newest(self, name: str) -> float | None:
        """Return the newest value of a series."""
        return self._scrapes[-1][1].get(name) if self._scrapes else None


@dataclass(frozen=True, slots=True)
class News:
    """What of a scrape the planner should not learn of at its next regular look only."""

    is_seen: bool
    memory_steps: int = 0
    is_evicting: bool = False
    serves_slots: bool = False
    is_synced: bool = False


def news_of(sample: Seen[Sample], history: History | None) -> News:
    """Reduce a sample to what is notable: equal news wake nobody."""
    if isinstance(sample, Unknown) or history is None:
        return News(is_seen=False)
    return News(
        is_seen=True,
        memory_steps=int((sample.memory_share or 0.0) * NOTABLE_STEPS),
        is_evicting=sample.evicted_per_s > 0,
        serves_slots=history.newest(SLOTS) not in (None, 0.0),
        is_synced=history.newest(SYNCED) not in (None, 0.0),
    )


@dataclass(slots=True)
class _Watched:
    """One cluster: whom to scrape, how often, when next, and what has been found."""

    targets: tuple[Target, ...]
    interval_s: float
    due_at_s: float
    histories: dict[str, History]
    samples: dict[str, Seen[Sample]]
    # What the planner was last woken for.
    told: dict[str, News]


class Monitor:
    """Scrapes all clusters that it was told of. `changed` is called when a sample changed notably."""

    def __init__(self, metrics: Metrics, changed: Callable[[Key], None], port: int = PORT_METRICS) -> None:
        self._metrics = metrics
        self._changed = changed
        self._port = port
        self._watched: dict[Key, _Watched] = {}
        self._woken = asyncio.Event()
        self._gate = asyncio.Semaphore(SCRAPED_AT_ONCE_MAX)
        metrics.watch_pods(self.figures)

    def watch(self, key: Key, targets: Sequence[Target], interval_s: float) -> None:
        """Scrape these pods of a cluster from now on; called after every look with what was found."""
        watched = self._watched.get(key)
        if watched is None:
            watched = _Watched((), interval_s, time.monotonic(), {}, {}, {})
            self._watched[key] = watched
            self._woken.set()
        watched.targets = tuple(targets)
        watched.interval_s = interval_s
        kept = {target.uid for target in targets}
        for uid in watched.samples.keys() - kept:
            del watched.samples[uid]
            watched.histories.pop(uid, None)
            watched.told.pop(uid, None)

    def forget(self, key: Key) -> None:
        """Stop scraping a cluster that is gone."""
        self._watched.pop(key, None)

    def samples(self, key: Key) -> Mapping[str, Seen[Sample]]:
        """Return the newest sample of each pod, by its uid."""
        watched = self._watched.get(key)
        return watched.samples if watched is not None else {}

    def figures(self) -> Iterator[PodFigures]:
        """Return what is known of all pods, for the operator's own metrics."""
        for key, watched in self._watched.items():
            for target in watched.targets:
                sample = watched.samples.get(target.uid)
                if sample is not None and not isinstance(sample, Unknown):
                    role = "master" if target.is_master else "replica"
                    yield PodFigures(key, target.shard, target.pod, role, sample)

    async def run(self) -> None:
        """Scrape whatever is due, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=MEMBER_DEADLINE_S)
        connector = aiohttp.TCPConnector(limit=SCRAPED_AT_ONCE_MAX)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            while True:
                now_s = time.monotonic()
                due = [key for key, watched in self._watched.items() if watched.due_at_s <= now_s]
                await asyncio.gather(*(self._scrape_cluster(session, key) for key in due))
                await self._rest()

    async def _rest(self) -> None:
        self._woken.clear()
        due_at_s = min((watched.due_at_s for watched in self._watched.values()), default=None)
        delay_s = None if due_at_s is None else max(0.0, due_at_s - time.monotonic())
        try:
            async with asyncio.timeout(delay_s):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _scrape_cluster(self, session: aiohttp.ClientSession, key: Key) -> None:
        watched = self._watched[key]
        watched.due_at_s = time.monotonic() + watched.interval_s
        targets = watched.targets
        scrapes = await asyncio.gather(*(self._scrape(session, target.ip) for target in targets))
        samples: dict[str, Seen[Sample]] = {}
        for target, scraped in zip(targets, scrapes, strict=True):
            if isinstance(scraped, Unknown):
                before = watched.samples.get(target.uid)
                since_s = before.since_s if isinstance(before, Unknown) else scraped.since_s
                samples[target.uid] = replace(scraped, since_s=since_s)
                continue
            history = watched.histories.setdefault(target.uid, History())
            history.add(time.time(), scraped)
            samples[target.uid] = history.sample() or Unknown("not scraped yet", time.time())
        watched.samples = _with_lags(targets, samples, watched.histories)
        news = {uid: news_of(sample, watched.histories.get(uid)) for uid, sample in samples.items()}
        if news != watched.told:
            watched.told = news
            self._changed(key)

    async def _scrape(self, session: aiohttp.ClientSession, ip: str) -> Seen[dict[str, float]]:
        host = f"[{ip}]" if ":" in ip else ip
        try:
            async with self._gate, session.get(f"http://{host}:{self._port}/metrics?{QUERY}") as response:
                if response.status != 200:
                    raise aiohttp.ClientError(f"HTTP status {response.status}")
                body = b""
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > ANSWER_BYTES_MAX:
                        raise aiohttp.ClientError("an answer of more than 1 MiB")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._metrics.scrapes.labels("failed").inc()
            return Unknown(str(error) or "no answer in time", time.time())
        self._metrics.scrapes.labels("done").inc()
        return read_series(body.decode(errors="replace"))


def _with_lags(
    targets: Sequence[Target], samples: Mapping[str, Seen[Sample]], histories: Mapping[str, History]
) -> dict[str, Seen[Sample]]:
    """Add to each replica's sample by how many bytes it is behind its shard's master."""
    offsets = {uid: history.newest(OFFSET) for uid, history in histories.items()}
    masters = {target.shard: offsets.get(target.uid) for target in targets if target.is_master}
    lagged = dict(samples)
    for target in targets:
        sample = samples.get(target.uid)
        master, own = masters.get(target.shard), offsets.get(target.uid)
        if sample is None or isinstance(sample, Unknown) or target.is_master or master is None or own is None:
            continue
        lagged[target.uid] = replace(sample, replica_lag_bytes=max(0, int(master - own)))
    return lagged
