"""What the planner's rules collect while one plan is made: actions, blockers, when to look again.

Each rule is a function that gets the view and a `Draft` and adds to it; it never reads what others added,
except that a shard in which something is already being changed is left alone by everything that is not a
repair (`is_busy`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from redoubt_operator.actions import Action, RecordEvent, Target
from redoubt_operator.moves import Journal
from redoubt_operator.view import Server

SOON_S: Final = 0.1  # after commands to servers: gossip and roles settle within a few round trips
WAITING_S: Final = 1.0  # for something that Kubernetes or a server is about to do


@dataclass(frozen=True, slots=True)
class Blocker:
    """Why the operator does not go on, for people: a reason, what shows it, and what they can do.

    A passing blocker is normal for some seconds (a container starts); it is shown once it has lasted. A
    stalling one does not end by itself and makes condition Stalled true.
    """

    reason: str
    evidence: str
    hint: str
    shard: int | None = None
    is_passing: bool = False
    is_stalling: bool = False


@dataclass(slots=True)
class Draft:
    """The plan in the making."""

    actions: list[Action] = field(default_factory=list)
    blockers: list[Blocker] = field(default_factory=list)
    losses: dict[int, str] = field(default_factory=dict)  # shards whose data are found lost: why
    busy: set[int] = field(default_factory=set)  # only asked for membership
    switchover: Mapping[str, Any] | None = None  # status.lastSwitchover, when it changes
    journal: Journal | None = None  # of slot moves, as it shall be written; None: as it was
    retiring: set[int] = field(default_factory=set)  # shards found empty that go; only asked for membership
    open_slots: tuple[Mapping[str, Any], ...] = ()  # status.openSlots
    is_planning: bool = False  # the next look shall ask what the slots hold
    again_after_s: float | None = None

    def do(self, action: Action, again_after_s: float = SOON_S) -> None:
        """Add an action and look again soon, at the latest when its effect should be seen."""
        self.actions.append(action)
        if action.shard is not None:
            self.busy.add(action.shard)
        if not isinstance(action, RecordEvent):
            self.look_again(again_after_s)

    def block(self, blocker: Blocker) -> None:
        """Add what keeps the operator from going on."""
        self.blockers.append(blocker)
        if blocker.is_passing:
            self.look_again(WAITING_S)

    def look_again(self, after_s: float) -> None:
        """Ask for another look after at most this long."""
        if self.again_after_s is None or after_s < self.again_after_s:
            self.again_after_s = after_s

    def is_busy(self, shard: int) -> bool:
        """Whether this plan already changes something in the shard."""
        return shard in self.busy


def target(server: Server) -> Target:
    """The server in an action's words."""
    return Target(server.pod.name, server.pod.uid, server.pod.ip)
