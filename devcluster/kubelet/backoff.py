"""How long a failing container waits before its next start, or a failing image before its next pull.

The kubelet's rule: nothing the first time, then 10 s doubled up to 300 s, counted from the moment of
failure; forgotten when the container then ran for twice the longest delay. Pure: times are seconds that the
caller read somewhere. Source: "Container restart policy" in the Kubernetes documentation on the Pod
lifecycle.
"""

from __future__ import annotations

from typing import Final

FIRST_S: Final = 10.0
LONGEST_S: Final = 300.0
FORGOTTEN_AFTER_S: Final = 2 * LONGEST_S


class Backoff:
    """The delays of one container, or of one image of it."""

    def __init__(self, at_once_first: bool = True) -> None:
        self._first_s = 0.0 if at_once_first else FIRST_S
        self._next_s = self._first_s

    def failed(self, ran_s: float) -> float:
        """Return the seconds to wait after a failure that came `ran_s` after the start."""
        if ran_s > FORGOTTEN_AFTER_S:
            self._next_s = self._first_s
        delay_s = self._next_s
        self._next_s = min(2 * delay_s, LONGEST_S) if delay_s else FIRST_S
        return delay_s
