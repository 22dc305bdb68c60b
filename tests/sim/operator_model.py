"""The operator inside the simulation: the real planner, looking and acting over the simulated network.

What decides is `redoubt_operator.plan.plan` itself, and the orders are the words that `execute.command_of`
writes; so planner and servers are proved together. Only what is around them is modelled: a look is one round
of REDOUBT STATUS and CLUSTER NODES with a deadline of a second, read by `members.status_of` and
`known_nodes`; actions run lane by lane, and one that fails ends its lane; a closed connection or a change in
Kubernetes wakes the operator.

`stop` ends it at any point, also between two orders of one plan, and a new one with a higher number of lease
transitions takes over. The old one may also go on beside it, to prove that its orders are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final

from redoubt.resp.decoder import NeedMore, ReplyDecoder
from redoubt.resp.replies import ErrorReply, Reply, encode_command
from redoubt_operator import actions as do
from redoubt_operator import directives, members
from redoubt_operator.actions import Action
from redoubt_operator.execute import command_of, done_already
from redoubt_operator.observation import ClusterMeta, Member, Observation, Pod, Unknown
from redoubt_operator.plan import plan
from redoubt_operator.spec import ClusterSpec
from tests.sim.kubernetes import Kubernetes
from tests.sim.world import End, World

META: Final = ClusterMeta("default", "demo", "uid-demo", 1)
LOOK_DEADLINE_MS: Final = 1_000
ORDER_DEADLINE_MS: Final = 3_000
HANDOVER_DEADLINE_MS: Final = 20_000
LOOK_AGAIN_MS_MAX: Final = 5_000
POLL_MS: Final = 5

# A process of the model: yields how many milliseconds to sleep.
Process = Generator[int, None, Any]


class Question:
    """One command on a connection of the operator, and its reply."""

    def __init__(self) -> None:
        self.reply: Reply | None = None
        self.has_reply = False


class Connection:
    """The operator's idle connection to one pod."""

    def __init__(self, world: World, end: End) -> None:
        self.world = world
        self.end = end
        self.decoder = ReplyDecoder()
        self.waiting: list[Question] = []

    def ask(self, words: list[str]) -> Question:
        question = Question()
        self.waiting.append(question)
        self.world.send(self.end, encode_command([word.encode() for word in words]))
        return question

    def read(self) -> None:
        data, self.end.inbox = self.end.inbox, b""
        self.decoder.feed(data)
        while self.waiting:
            reply = self.decoder.next()
            if isinstance(reply, NeedMore):
                return
            question = self.waiting.pop(0)
            question.reply, question.has_reply = reply, True


class OperatorModel:
    """One process of the operator, from its election to its end."""

    def __init__(self, world: World, kubernetes: Kubernetes, spec: ClusterSpec, lease: int) -> None:
        self.world = world
        self.kubernetes = kubernetes
        self.spec = spec
        self.lease = lease
        self.is_stopped = False
        self.refusals: list[tuple[Action, bytes]] = []
        self.done: list[Action] = []
        # Told of each order before it is given.
        self.ordered: Callable[[Action], None] = lambda action: None
        self._connections: dict[str, Connection] = {}
        self._ended_links = 0
        self._spawn(self._run())

    def stop(self) -> None:
        """SIGKILL: nothing more is asked, ordered or written."""
        self.is_stopped = True

    # Processes.

    def _spawn(self, process: Process) -> list[bool]:
        """Run a process in the world; the list is empty until it is over."""
        over: list[bool] = []

        def go_on() -> None:
            if self.is_stopped:
                return
            try:
                pause_ms = next(process)
            except StopIteration:
                over.append(True)
                return
            self.world.after(pause_ms, go_on)

        self.world.after(0, go_on)
        return over

    def _run(self) -> Process:
        while True:
            changes = self.kubernetes.changes
            seen = yield from self._look()
            wanted = plan(self.spec, seen, self.world.now_ms / 1000)
            if wanted.status is not None:
                self.kubernetes.status = wanted.status
            lanes: dict[int | None, list[Action]] = {}
            for action in wanted.actions:
                lanes.setdefault(action.shard, []).append(action)
            running = [self._spawn(self._run_lane(lane)) for lane in lanes.values()]
            while not all(running):
                yield POLL_MS
            links = self._ended_links
            end_ms = self.world.now_ms + min(int(wanted.again_after_s * 1000), LOOK_AGAIN_MS_MAX)
            while self.world.now_ms < end_ms:
                self._watch_links()
                if self.kubernetes.changes != changes or self._ended_links != links:
                    break
                yield POLL_MS
            yield 10  # the work queue

    # Looking.

    def _look(self) -> Generator[int, None, Observation]:
        kubernetes = self.kubernetes
        pods = tuple(placed.pod for _, placed in sorted(kubernetes.pods.items()))
        asked: list[tuple[Pod, list[Question]]] = []
        for pod in pods:
            if not pod.ip:
                continue
            connection = self._connect(pod)
            questions = []
            if connection is not None:
                questions = [connection.ask(["REDOUBT", "STATUS"]), connection.ask(["CLUSTER", "NODES"])]
            asked.append((pod, questions))
        end_ms = self.world.now_ms + LOOK_DEADLINE_MS
        while self.world.now_ms < end_ms and not self._has_all(asked):
            yield POLL_MS
        self._has_all(asked)
        for pod, questions in asked:
            if any(not question.has_reply for question in questions):
                self._drop(pod.uid)  # a late reply must not be taken for the next one's
        now_s = self.world.now_ms / 1000
        return Observation(
            meta=META,
            lease_transitions=self.lease,
            pods=pods,
            claims=tuple(claim for claim, _ in kubernetes.volumes.values()),
            services=self._objects("Service"),
            config_maps=self._objects("ConfigMap"),
            budgets=self._objects("PodDisruptionBudget"),
            auth=kubernetes.auth,
            nodes=tuple(node for _, node in sorted(kubernetes.nodes.items())),
            members=tuple(self._member(pod, questions, now_s) for pod, questions in asked),
            status=kubernetes.status,
        )

    def _objects(self, kind: str) -> tuple[Any, ...]:
        return tuple(one for (what, _), one in sorted(self.kubernetes.objects.items()) if what == kind)

    def _has_all(self, asked: list[tuple[Pod, list[Question]]]) -> bool:
        self._watch_links()
        for pod, questions in asked:
            if pod.uid in self._connections and any(not question.has_reply for question in questions):
                return False
        return True

    def _member(self, pod: Pod, questions: list[Question], now_s: float) -> Member:
        unknown = Unknown("no answer", now_s)
        config = dict(directives.live_directives(self.spec))
        if len(questions) < 2 or not all(question.has_reply for question in questions):
            return Member(pod.uid, unknown, unknown, unknown, unknown)
        status, nodes = (question.reply for question in questions)
        return Member(pod.uid, members.status_of(status), members.known_nodes(nodes), config, unknown)

    # Links.

    def _connect(self, pod: Pod) -> Connection | None:
        """Return the connection to a pod's server, made anew if there is none; never to another pod's."""
        known = self._connections.get(pod.uid)
        if known is not None:
            return known
        placed = self.kubernetes.find(pod.ip)
        if placed is None or placed.pod.uid != pod.uid or pod.ip not in self.world.hosts:
            return None
        end = self.world.connect(pod.ip)
        if end is None:
            return None
        self._connections[pod.uid] = Connection(self.world, end)
        return self._connections[pod.uid]

    def _watch_links(self) -> None:
        for uid, connection in list(self._connections.items()):
            connection.read()
            if connection.end.is_closed:
                self._drop(uid)

    def _drop(self, uid: str) -> None:
        if self._connections.pop(uid, None) is not None:
            self._ended_links += 1

    # Acting.

    def _run_lane(self, lane: list[Action]) -> Process:
        for action in lane:
            target = getattr(action, "target", None)
            if target is None:
                self.kubernetes.act(action)
                continue
            connection = self._connections.get(target.uid)
            if connection is None:
                return
            is_handover = isinstance(action, do.Handover)
            words, done = words_of(action)
            self.ordered(action)
            question = connection.ask(words)
            end_ms = self.world.now_ms + (HANDOVER_DEADLINE_MS if is_handover else ORDER_DEADLINE_MS)
            while not question.has_reply and self.world.now_ms < end_ms:
                yield POLL_MS
                self._watch_links()
                if self._connections.get(target.uid) is not connection:
                    break
            if not question.has_reply:
                self._drop(target.uid)
                return
            if isinstance(question.reply, ErrorReply):
                text = question.reply.text
                if not any(part.encode() in text for part in done):
                    self.refusals.append((action, text))
                    return
            self.done.append(action)


def words_of(action: Action) -> tuple[list[str], tuple[str, ...]]:
    """Return the command of an order, and the parts of error texts that mean: it holds already."""
    if isinstance(action, do.Handover):
        return ["REDOUBT", "HANDOVER", action.to_node_id], ()
    words = command_of(action)  # type: ignore[arg-type]
    return [str(word) for word in words], done_already(action)  # type: ignore[arg-type]
