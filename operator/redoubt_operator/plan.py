"""The planner: from what people want and what was seen to the next safe steps.

`plan` is pure: no await, no clock, no randomness, nothing remembered beside what is in the observation. It
is asked again after every change and answers with the few actions that are safe now, given that any of them
may fail and that the process may end between any two.
"""

from .actions import Plan
from .observation import Observation
from .spec import ClusterSpec, InvalidSpec

__all__ = ["plan"]


def plan(spec: ClusterSpec | InvalidSpec, seen: Observation, now_s: float) -> Plan:
    """The next safe steps for one cluster resource. `now_s` is Unix seconds."""
    return Plan((), None, 60.0)
