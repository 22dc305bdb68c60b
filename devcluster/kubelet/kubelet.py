"""The kubelet itself: every node of a devcluster, and a worker for each pod bound to one of them.

It wires the parts together and holds the one table, pods by uid. A pod's first sight makes a worker, later
sights update it, its disappearance kills it; the worker's end takes it off the table and frees its address.
Losing a node abandons its workers; restoring one looks at its pods as if for the first time, with their
containers known to have ended. Started by `__main__.py`; asked for faults by `control.py` and for logs by
`server.py`.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
from collections.abc import Coroutine
from typing import Any, Final

from devcluster.kubelet.api import ApiClient, Object, WatchCache, key_of
from devcluster.kubelet.container import Container
from devcluster.kubelet.context import Context
from devcluster.kubelet.control import serve_control
from devcluster.kubelet.events import EventRecorder
from devcluster.kubelet.memory import MemoryWatch
from devcluster.kubelet.nodes import Node
from devcluster.kubelet.pod import PodWorker
from devcluster.kubelet.process import detect_isolation
from devcluster.kubelet.provisioner import Provisioner
from devcluster.kubelet.server import serve_nodes
from devcluster.kubelet.services import ServiceForwarder
from devcluster.state import Settings, State

LOG: Final = logging.getLogger("devcluster.kubelet")
ADDRESSES_PER_NODE: Final = range(2, 255)


class Kubelet:
    """All nodes of one devcluster."""

    def __init__(self, state: State, settings: Settings) -> None:
        self._state = state
        self._settings = settings
        self.workers: Final[dict[str, PodWorker]] = {}
        self.nodes: Final[dict[str, Node]] = {}
        self._addresses: dict[str, str] = {}  # in use -> uid
        self._next_address: dict[str, int] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        """Be the kubelet until killed; StartError if this machine cannot isolate containers."""
        state, settings = self._state, self._settings
        (state.root / "staging").mkdir(exist_ok=True)
        isolation = await detect_isolation(str(state.root / "staging"))
        LOG.info("%s", isolation)
        client = ApiClient(settings.api_url, settings.admin_token, str(state.pki / "ca.crt"))
        self.context = Context(
            client=client,
            state=state,
            settings=settings,
            isolation=isolation,
            events=EventRecorder(client),
            memory=MemoryWatch(),
            config_maps=WatchCache(client, "/api/v1/configmaps", self._reference_changed("configMap")),
            secrets=WatchCache(client, "/api/v1/secrets", self._reference_changed("secret")),
            claims=WatchCache(client, "/api/v1/persistentvolumeclaims"),
            volumes=WatchCache(client, "/api/v1/persistentvolumes"),
        )
        self._pods = WatchCache(client, "/api/v1/pods", self._pod_changed, fieldSelector="spec.nodeName!=")
        forwarder = ServiceForwarder(client, settings, self._pods)
        for index in range(settings.nodes):
            name = settings.node_name(index)
            self.nodes[name] = Node(client, index, name, settings.node_address(index), settings.kubelet_port)
        context = self.context
        await serve_control(self)
        await serve_nodes(self)
        provisioner = Provisioner(context)
        caches = [context.config_maps, context.secrets, context.claims, context.volumes]
        for cache in caches:
            self._spawn(cache.run())
        self._spawn(context.events.run())
        self._spawn(context.memory.run())
        self._spawn(provisioner.run())
        self._spawn(forwarder.run())
        await asyncio.gather(*(cache.synced.wait() for cache in caches))
        self._spawn(self._pods.run())
        await self._pods.synced.wait()
        self._remove_stale_directories()
        await asyncio.gather(*(node.run() for node in self.nodes.values()))

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """Return the worker of a pod by name: the newest, if an earlier one of that name is still ending."""
        found = [
            each for each in self.workers.values() if key_of(each.pod) == (namespace, name)
        ]  # fmt: skip
        return found[-1] if found else None

    def find_container(self, namespace: str, name: str, container: str) -> Container | None:
        """Return a container by name, or the pod's first."""
        if not (worker := self.find(namespace, name)):
            return None
        candidates = [*worker.containers, *worker.init_containers]
        return next((each for each in candidates if not container or each.name == container), None)

    def lose_node(self, name: str) -> None:
        """End the processes of a node and fall silent for it."""
        self.nodes[name].is_lost = True
        for worker in list(self.workers.values()):
            if worker.node == name:
                del self.workers[worker.uid]
                worker.abandon()

    async def restore_node(self, name: str) -> None:
        """Let a lost node come back as after a reboot: its pods start again, with their volumes."""
        await self.nodes[name].restore()
        for pod in list(self._pods.objects.values()):
            if pod["spec"]["nodeName"] == name:
                self._pod_changed(pod, False)

    def signal_pod(self, namespace: str, name: str, number: signal.Signals) -> bool:
        """Signal all processes of a pod; False if there is no such pod."""
        if not (worker := self.find(namespace, name)):
            return False
        for container in [*worker.init_containers, *worker.containers]:
            if container.process:
                container.process.signal_tree(number)
        return True

    def _pod_changed(self, pod: Object, is_gone: bool) -> None:
        uid = pod["metadata"]["uid"]
        worker = self.workers.get(uid)
        if is_gone:
            if worker:
                worker.vanish()
        elif worker:
            worker.updated(pod)
        elif (node := self.nodes.get(pod["spec"]["nodeName"])) and not node.is_lost:
            address = node.address if pod["spec"].get("hostNetwork") else self._take_address(node, uid)
            worker = self.workers[uid] = PodWorker(self.context, pod, address, node.address)
            self._spawn(self._run_worker(worker))

    async def _run_worker(self, worker: PodWorker) -> None:
        try:
            await worker.run()
        except Exception:
            LOG.exception("worker of pod %s", worker.uid)
        finally:
            if self.workers.get(worker.uid) is worker:
                del self.workers[worker.uid]
            if self._addresses.get(worker.pod_ip) == worker.uid:
                del self._addresses[worker.pod_ip]

    def _take_address(self, node: Node, uid: str) -> str:
        """Take the node's next free address; one that was just freed is used again as late as possible."""
        for _ in ADDRESSES_PER_NODE:
            number = self._next_address.get(node.name, ADDRESSES_PER_NODE.start)
            following = number + 1 if number + 1 in ADDRESSES_PER_NODE else ADDRESSES_PER_NODE.start
            self._next_address[node.name] = following
            address = f"{self._settings.pod_prefix}.{node.index + 1}.{number}"
            if address not in self._addresses:
                self._addresses[address] = uid
                return address
        raise RuntimeError(f"{node.name} has no free pod address")

    def _reference_changed(self, kind: str) -> Any:
        def changed(thing: Object, _: bool) -> None:
            namespace, name = key_of(thing)
            for worker in self.workers.values():
                if worker.pod["metadata"]["namespace"] == namespace:
                    worker.reference_changed(kind, name)

        return changed

    def _remove_stale_directories(self) -> None:
        present = {pod["metadata"]["uid"] for pod in self._pods.objects.values()}
        for directory in self._state.pods.iterdir():
            if directory.name not in present:
                shutil.rmtree(directory, ignore_errors=True)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failed := task.exception()):
            LOG.error("a task of the kubelet ended", exc_info=failed)
