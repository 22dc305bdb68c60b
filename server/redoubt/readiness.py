"""Whether this node may get clients: the questions that /readyz asks.

Ready means: the role is known, the dataset is loaded, and as a replica the copy is complete. A replica whose
link broke stays ready for the node timeout and 5 seconds more: that is how long a failover may take, and if
all replicas of a dead master became unready at once, the Service would be empty exactly then.

Parts with further conditions register a question, a function that answers with the reason why not, or with
nothing. The health port asks; liveness never does. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from redoubt.session import GATE_AWAITING, GATE_LOADING

if TYPE_CHECKING:
    from redoubt.state import ServerState

# Added to cluster-node-timeout: an election and a resync after the failure was agreed.
LINK_GRACE_MS: Final = 5000

Question = Callable[["ServerState", int], str]

_QUESTIONS: Final[list[Question]] = []


def register(question: Question) -> None:
    """Add a question: (state, now_ms) -> the reason why the node is not ready, or an empty text."""
    _QUESTIONS.append(question)


def reasons(state: ServerState, now_ms: int) -> list[str]:
    """Return every reason why the node is not ready; none: it is."""
    return [reason for question in _QUESTIONS if (reason := question(state, now_ms))]


def role_is_known(state: ServerState, now_ms: int) -> str:
    """In managed mode a node serves nothing before its role was given or confirmed."""
    return "waiting for its role" if state.gates & GATE_AWAITING else ""


def dataset_is_loaded(state: ServerState, now_ms: int) -> str:
    """Loading ends by itself."""
    return "loading the dataset" if state.gates & GATE_LOADING else ""


def copy_is_complete(state: ServerState, now_ms: int) -> str:
    """A replica needs one completed sync, and a link that is not broken for too long."""
    replication = state.replication
    if not replication.is_replica:
        return ""
    if not replication.is_synced:
        return "its copy of the master's dataset is not complete"
    down_ms = now_ms - replication.link_down_since_ms
    if not replication.link_is_up and down_ms > state.config.cluster_node_timeout + LINK_GRACE_MS:
        return f"its link to the master is down for {down_ms // 1000} seconds"
    return ""


for _question in (role_is_known, dataset_is_loaded, copy_is_complete):
    register(_question)
