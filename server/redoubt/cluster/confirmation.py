"""A restarted master without replicas asks the others whether its slots are still its own.

Nobody could have taken over by itself, but an operator or a person may have moved the slots meanwhile. So the
node asks every known node for CLUSTER NODES, on their client ports. More than half of all masters with slots
in its own map must name the same owner of its slots, at no lower config epoch than its own; its own view
counts as one of them. That is safe because whoever took the slots by votes needed a majority too, and two
majorities share a voter. If the owner they name is another node, that node is the successor.

Nodes that wait themselves answer as well, from the maps that they kept, so a cluster that restarts as a whole
confirms itself. Called by `role.py` at every tick while it resumes.
"""

from __future__ import annotations

from typing import Final

from redoubt.cluster.inquiry import Inquirer, Inquiry
from redoubt.cluster.nodes_conf import CorruptNodes, parse
from redoubt.cluster.slots import slots_of
from redoubt.cluster.topology import ClusterNode, Topology
from redoubt.resp.replies import Reply, Verbatim
from redoubt.state import ServerState

# Each node is asked again after this, until there is a majority.
ASK_EVERY_MS: Final = 300


class Answer:
    """Whom one node names as the owner of our slots."""

    def __init__(self, owner_id: str, epoch: int) -> None:
        self.owner_id = owner_id
        self.epoch = epoch


class Confirmation(Inquirer):
    """The question under way, and the answers so far."""

    def __init__(self, state: ServerState, topology: Topology) -> None:
        self.state = state
        self.topology = topology
        # Slots that we gave away may rightly have another owner; that is found out once we serve the others.
        self.boot_slots = topology.myself.slots & ~topology.granted() or topology.myself.slots
        self.boot_epoch = topology.myself.config_epoch
        self.answers: dict[str, Answer] = {}
        self._asked_ms = 0
        self._inquiries: list[Inquiry] = []

    def tick(self, now_ms: int) -> None:
        """Ask every known node once per interval."""
        if now_ms - self._asked_ms < ASK_EVERY_MS:
            return
        self._asked_ms = now_ms
        self.stop()
        for node in self.topology.sorted_nodes():
            if node is not self.topology.myself and node.is_known and node.ip:
                inquiry = Inquiry(self.state, self, node.node_id, [b"CLUSTER", b"NODES"], now_ms)
                self._inquiries.append(inquiry)
                inquiry.begin(node.ip, node.plain_port or node.port)

    def stop(self) -> None:
        """Want no answers any more."""
        for inquiry in self._inquiries:
            inquiry.abandon()
        self._inquiries = []

    def owner(self) -> str:
        """Return the id of the owner that the majority names, empty while there is none."""
        voters = self.topology.voters()
        mine = self.topology.myself.node_id
        named: dict[str, int] = {mine: 1}
        for voter in voters:
            answer = self.answers.get(voter.node_id)
            if answer is not None and answer.epoch >= self.boot_epoch:
                named[answer.owner_id] = named.get(answer.owner_id, 0) + 1
        for owner_id, count in named.items():
            if count > len(voters) // 2:
                return owner_id
        return ""

    def missing(self) -> str:
        """Say for people what is waited for."""
        voters = len(self.topology.voters())
        return f"{len(self.answers) + 1} of {voters} masters answered, {voters // 2 + 1} needed"

    def answered(self, inquiry: Inquiry, reply: Reply, now_ms: int) -> None:
        """Read one node's map."""
        text = reply.text if isinstance(reply, Verbatim) else reply
        if not isinstance(text, bytes):
            return
        try:
            seen = parse(text.decode(errors="replace"), now_ms)
        except CorruptNodes:
            return
        owners: dict[str, int] = {}
        for slot in slots_of(self.boot_slots):
            owner = seen.owners[slot]
            if owner is not None and self._is_giver(slot, owner):
                owners[self.topology.myself.node_id] = self.boot_epoch
            elif owner is not None:
                owners[owner.node_id] = owner.config_epoch
        if len(owners) == 1:  # split among several: the operator decides
            ((owner_id, epoch),) = owners.items()
            self.answers[inquiry.node_id] = Answer(owner_id, epoch)

    def _is_giver(self, slot: int, owner: ClusterNode) -> bool:
        """Say whether this owner granted the slot to us: who names it has not heard of our claim yet."""
        return any(
            grant.mask >> slot & 1 and owner.node_id == grant.source_id and owner.config_epoch <= grant.epoch
            for grant in self.topology.takings.values()
        )
