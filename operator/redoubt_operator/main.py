"""`redoubt-operator`: the process. Waits for the Lease, leads, and lets go of the Lease before all else.

The order matters. A standby holds the HTTP port and asks for the Lease once a second, nothing more. When it
leads, the workers, the monitor and the renewal of the Lease are started before kopf, because kopf cancels
every task that was created after its own start when it ends. kopf installs its own handler of SIGTERM; ours
is put back as soon as kopf is ready. On SIGTERM the Lease is released first, so that another operator acts
at once, then work stops. When the Lease is lost, the process ends on the spot: whatever it was doing must
not go on beside a new leader.

It puts the parts together and decides nothing else. The flags are in `settings.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace

import kopf
from kopf._core.engines.peering import Identity

from redoubt_operator import handlers, http, logs
from redoubt_operator.election import Election
from redoubt_operator.events import Recorder
from redoubt_operator.execute import Boundary, Executor
from redoubt_operator.kube import CLUSTERS, NODES, ApiError, Kube, connect
from redoubt_operator.links import Links
from redoubt_operator.metrics import Metrics
from redoubt_operator.monitor import Monitor
from redoubt_operator.observer import Observer
from redoubt_operator.reconciler import Reconciler
from redoubt_operator.settings import RESYNC_JITTER, RESYNC_S, Settings, read_settings
from redoubt_operator.workqueue import Key, Workqueue

log = logging.getLogger(__name__)

CRD_RETRY_S = 2.0
# The exit status of a leader that lost its Lease; the kubelet starts it again as a standby.
LOST_STATUS = 3


def main() -> None:
    """Run `redoubt-operator` with the process's arguments and environment."""
    settings = read_settings(sys.argv[1:], os.environ)
    logs.configure(settings.log_level)
    if settings.identity == Settings().identity:
        # Two processes with one name would both take themselves for the holder of the Lease.
        settings = replace(settings, identity=f"{socket.gethostname()}-{os.getpid()}")
    try:
        status = asyncio.run(run(settings))
    except Exception:  # the edge: one line for the whole of it, then the kubelet starts us anew
        log.exception("the operator ends")
        status = 1
    sys.exit(status)


async def run(settings: Settings, on_boundary: Boundary | None = None) -> int:
    """Run until SIGTERM; returns the exit status. `on_boundary`: see execute.py."""
    stop = asyncio.Event()
    _on_signals(stop.set)
    metrics = Metrics()
    kube = await connect(settings.kubeconfig, metrics.observe_request)
    server = await http.start(metrics, settings.http_address, settings.http_port)
    election = Election(kube, settings.namespace, settings.identity)
    try:
        log.info("standing by", extra={"identity": settings.identity, "namespace": settings.namespace})
        if await _first(election.acquire(), stop):
            metrics.leader.set(1)
            if settings.watch_nodes and not await _may_watch_nodes(kube):
                settings = replace(settings, watch_nodes=False)
            await Leadership(settings, kube, election, metrics, on_boundary).run(stop)
    finally:
        await election.release()
        await server.cleanup()
        await kube.close()
    return 0


async def _may_watch_nodes(kube: Kube) -> bool:
    """Whether the optional ClusterRole is bound; kopf would end us for a watch that is refused for long."""
    try:
        await kube.request("GET", NODES, query=[("limit", "1")])
    except ApiError as error:
        if error.status == 403:
            log.warning("nodes may not be read; lost nodes are noticed through their pods only")
            return False
    return True


class Leadership:
    """Everything that works while this process leads."""

    def __init__(
        self,
        settings: Settings,
        kube: Kube,
        election: Election,
        metrics: Metrics,
        on_boundary: Boundary | None,
    ) -> None:
        self._settings = settings
        self._kube = kube
        self._election = election
        self._queue = Workqueue(self._reconcile, settings.workers)
        metrics.watch_queue(lambda: self._queue.depth, lambda: self._queue.working)
        self._links = Links(self._link_ended)
        self._monitor = Monitor(metrics, self._queue.add)
        observer = Observer(kube, self._links, self._monitor, watch_nodes=settings.watch_nodes)
        recorder = Recorder(kube, settings.identity)
        executor = Executor(kube, self._links, recorder, metrics, lambda: election.is_leader, on_boundary)
        self._reconciler = Reconciler(
            kube,
            self._links,
            self._monitor,
            observer,
            executor,
            metrics,
            lambda: election.transitions,
            election.raise_transitions,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; the Lease is released before anything else ends."""
        stopped = asyncio.Event()
        ready = asyncio.Event()
        # All of these exist before kopf starts: see the module's docstring.
        self._queue.start()
        tasks = [
            asyncio.create_task(self._election.keep(_lost), name="lease"),
            asyncio.create_task(self._monitor.run(), name="monitor"),
            asyncio.create_task(self._resync(), name="resync"),
            asyncio.create_task(self._stop(stop, stopped), name="stop"),
            asyncio.create_task(_signals_again(ready, stop), name="signals"),
        ]
        for task in tasks:
            task.add_done_callback(_ended)
        try:
            if await _first(self._wait_for_crd(), stop):
                await self._watch(ready, stopped)
            await self._election.release()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._queue.stop()
            self._links.close()

    async def _watch(self, ready: asyncio.Event, stopped: asyncio.Event) -> None:
        watch_nodes = self._settings.watch_nodes
        waker = handlers.Waker(self._queue, self._reconciler.clusters_on_node)
        namespaces = self._settings.watch_namespaces
        await kopf.operator(
            registry=handlers.registry(waker, self._kube, watch_nodes=watch_nodes),
            settings=handlers.kopf_settings(),
            standalone=True,
            # Without one kopf asks for the name of the user, which a container's numeric user has not.
            identity=Identity(self._settings.identity),
            clusterwide=not namespaces,
            namespaces=namespaces,
            ready_flag=ready,
            stop_flag=stopped,
        )

    async def _stop(self, stop: asyncio.Event, stopped: asyncio.Event) -> None:
        """On SIGTERM: first the Lease, so that another operator acts at once; then our work; then kopf."""
        await stop.wait()
        await self._election.release()
        await self._queue.stop()
        stopped.set()

    async def _reconcile(self, key: Key) -> float | None:
        return await self._reconciler.reconcile(key)

    def _link_ended(self, pod_uid: str) -> None:
        key = self._reconciler.link_ended(pod_uid)
        if key is not None:
            self._queue.add(key, is_fast=True)

    async def _wait_for_crd(self) -> None:
        """Wait until RedoubtClusters are served; kopf would not notice when they come later."""
        is_told = False
        while True:
            try:
                await self._clusters()
                return
            except ApiError as error:
                if not is_told:
                    log.warning("RedoubtClusters cannot be listed yet", extra={"error": str(error)})
                is_told = True
            await asyncio.sleep(CRD_RETRY_S)

    async def _resync(self) -> None:
        """Look at every cluster once in a while, though nothing happened: events may be lost."""
        while True:
            await asyncio.sleep(RESYNC_S * random.uniform(1 - RESYNC_JITTER, 1))
            try:
                keys = await self._clusters()
            except ApiError as error:
                log.warning("resync failed", extra={"error": str(error)})
                continue
            for key in keys:
                self._queue.add_after(key, random.uniform(0, RESYNC_S * RESYNC_JITTER))

    async def _clusters(self) -> list[Key]:
        keys = []
        for namespace in self._settings.watch_namespaces or ("",):
            for manifest in await self._kube.list_objects(CLUSTERS, namespace, {}):
                keys.append(Key(manifest["metadata"]["namespace"], manifest["metadata"]["name"]))
        return keys


def _lost(reason: str) -> None:
    """End the process without any further step; nothing of ours may run beside a new leader."""
    log.error("leadership lost, exiting", extra={"reason": reason})
    logging.shutdown()
    os._exit(LOST_STATUS)


def _ended(task: asyncio.Task[None]) -> None:
    """A part that breaks would leave half an operator leading; the process ends instead."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a part of the operator broke", exc_info=error, extra={"part": task.get_name()})
        logging.shutdown()
        os._exit(1)


def _on_signals(action: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, action)


async def _signals_again(ready: asyncio.Event, stop: asyncio.Event) -> None:
    await ready.wait()
    _on_signals(stop.set)


async def _first(work: Coroutine[None, None, None], stop: asyncio.Event) -> bool:
    """Do the work unless `stop` is set before it is done; returns whether it was done."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        return False
    await working
    return not stop.is_set()


if __name__ == "__main__":
    main()
