"""What clients have done to each key, and therefore what each key may hold.

An `Account` belongs to one key, and one client only writes to it, one command after another. So its history
is a line, and every later sight of the key can be judged: it shows the outcome of the last command that was
promised, or of a later one; a promise may not be missing, nothing may come back that was deleted or has
expired, nothing may be applied twice. A command whose reply never came may have happened or not.

What counts as promised is decided by the one who writes (`workload.py`): an acknowledgement alone, where
faults are single kills, else an acknowledgement that replicas have confirmed. `forgive` is for keys whose
only holders were taken away.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from redoubt.cluster.slots import key_slot

# What a key holds: the value of a string, the items that were appended to a log, or nothing.
Contents = bytes | list[bytes] | None

LATEST: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a string holds after one command; `fades_ms`: from then on it may have expired (0: never)."""

    value: bytes | None
    fades_ms: int = 0


class Account:
    """The history of one key."""

    def __init__(self, key: str, is_log: bool) -> None:
        self.key = key
        self.slot = key_slot(key.encode())
        self.is_log = is_log
        # By command, in order. The first of a string is what it holds before any.
        self.outcomes: list[Outcome] = [] if is_log else [Outcome(None)]
        # Commands whose effect must be seen: of a log all of these, of a string the latest.
        self.promised: list[int] = []
        self.is_forgiven = False

    def attempt(self, value: bytes | None, fades_ms: int = 0) -> int:
        """Note a command before it is sent; returns its number."""
        self.outcomes.append(Outcome(value, fades_ms))
        return len(self.outcomes) - 1

    def promise(self, number: int) -> None:
        """Note that the effect of a command must be seen from now on."""
        self.promised.append(number)

    def forgive(self) -> None:
        """Expect nothing of this key any more: its only holders are gone."""
        self.is_forgiven = True

    def objection(self, found: Contents, now_ms: int) -> str:
        """Say what is wrong with what was found; empty if nothing is."""
        if self.is_forgiven:
            return ""
        if self.is_log:
            return self._objection_to_log(found if isinstance(found, list) else [])
        first = max(self.promised, default=0)
        for outcome in self.outcomes[first:]:
            may_be_gone = outcome.fades_ms and now_ms >= outcome.fades_ms
            if found == outcome.value or (found is None and may_be_gone):
                return self._objection_to_age(outcome, found, now_ms)
        earlier = [number for number, one in enumerate(self.outcomes[:first]) if one.value == found]
        told = f"it is the outcome of {earlier[-1]}" if earlier else "nobody wrote that"
        return f"{self.key} holds {found!r} after {first} of {len(self.outcomes) - 1} was promised; {told}"

    def _objection_to_age(self, outcome: Outcome, found: Contents, now_ms: int) -> str:
        is_late = now_ms == LATEST and outcome.fades_ms and found is not None
        return f"{self.key} holds {found!r}, which has expired" if is_late else ""

    def _objection_to_log(self, found: list[bytes]) -> str:
        sent = {outcome.value: number for number, outcome in enumerate(self.outcomes)}
        numbers = [sent.get(item, -1) for item in found]
        if -1 in numbers:
            return f"{self.key} has an item that nobody appended: {found}"
        if any(after <= before for before, after in pairwise(numbers)):
            return f"{self.key} has items twice or out of order: {numbers}"
        missing = sorted(set(self.promised) - set(numbers))
        return f"{self.key} lacks promised items {missing[:5]} of {len(self.outcomes)}" if missing else ""


class Ledger:
    """All accounts."""

    def __init__(self) -> None:
        self.accounts: list[Account] = []

    def open(self, key: str, is_log: bool) -> Account:
        account = Account(key, is_log)
        self.accounts.append(account)
        return account

    def forgive(self, slots: int) -> None:
        """Forgive every key of these slots."""
        for account in self.accounts:
            if slots >> account.slot & 1:
                account.forgive()
