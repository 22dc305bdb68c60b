"""Who owns which slot, from what many servers say.

The rule is Redis Cluster's own: the claim with the higher config epoch holds, and what a server says about
itself counts before what others say about it. Everything is in ranges, so that a hundred shards cost a few
hundred steps and not sixteen thousand each.

Used by view.py; pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from redoubt_operator.observation import KnownNode, MemberStatus, SlotRange


@dataclass(frozen=True, slots=True)
class Owner:
    """The claim of a node id on slots, at its config epoch."""

    node_id: str
    config_epoch: int
    slots: tuple[SlotRange, ...]


def newest_claims(
    answers: Iterable[tuple[MemberStatus, tuple[KnownNode, ...]]],
) -> dict[str, Owner]:
    """The newest claim of every node id that claims slots; a server's own line outweighs all others.

    `answers`: REDOUBT STATUS and CLUSTER NODES of each server that was seen.
    """
    seen = tuple(answers)
    owners: dict[str, Owner] = {}
    for status, nodes in seen:
        slots = next((one.slots for one in nodes if one.node_id == status.node_id), ())
        if slots and status.slots:
            owners[status.node_id] = Owner(status.node_id, status.config_epoch, slots)
    own_claims = frozenset(owners)
    for _, nodes in seen:
        for node in nodes:
            if not node.slots or node.node_id in own_claims:
                continue
            known = owners.get(node.node_id)
            if known is None or known.config_epoch < node.config_epoch:
                owners[node.node_id] = Owner(node.node_id, node.config_epoch, node.slots)
    return owners


def effective_slots(owners: Iterable[Owner]) -> dict[str, tuple[SlotRange, ...]]:
    """Who really owns what: of claims that overlap the one with the higher config epoch holds."""
    ordered = sorted(owners, key=lambda one: (one.config_epoch, one.node_id))
    bounds = sorted(
        {bound for owner in ordered for one in owner.slots for bound in (one.first, one.last + 1)}
    )
    index = {bound: number for number, bound in enumerate(bounds)}
    holders = [""] * len(bounds)  # of the slots from one bound to the next
    for owner in ordered:
        for one in owner.slots:
            first, after = index[one.first], index[one.last + 1]
            holders[first:after] = [owner.node_id] * (after - first)
    owned: dict[str, list[SlotRange]] = {}
    for number, holder in enumerate(holders):
        if holder:
            ranges = owned.setdefault(holder, [])
            last = bounds[number + 1] - 1
            if ranges and ranges[-1].last == bounds[number] - 1:
                ranges[-1] = SlotRange(ranges[-1].first, last)
            else:
                ranges.append(SlotRange(bounds[number], last))
    return {holder: tuple(ranges) for holder, ranges in owned.items()}


def overlap(some: Iterable[SlotRange], others: tuple[SlotRange, ...]) -> bool:
    """Whether any slot is in both."""
    return any(one.first <= other.last and other.first <= one.last for one in some for other in others)


def covers(whole: Iterable[SlotRange], part: Iterable[SlotRange]) -> bool:
    """Whether every slot of `part` is in `whole`."""
    ordered = sorted(whole, key=lambda one: one.first)
    for one in part:
        uncovered = one.first
        for other in ordered:
            if other.first <= uncovered <= other.last:
                uncovered = other.last + 1
        if uncovered <= one.last:
            return False
    return True


def without(whole: Iterable[SlotRange], part: Iterable[SlotRange]) -> tuple[SlotRange, ...]:
    """What of `whole` is not in `part`, in ascending order."""
    left = list(whole)
    for cut in part:
        left = [
            piece
            for one in left
            for piece in (
                SlotRange(one.first, min(one.last, cut.first - 1)),
                SlotRange(max(one.first, cut.last + 1), one.last),
            )
            if piece.first <= piece.last
        ]
    return tuple(sorted(left, key=lambda one: one.first))


def common(some: Iterable[SlotRange], others: Iterable[SlotRange]) -> tuple[SlotRange, ...]:
    """The slots that are in both, in ascending order."""
    listed = tuple(some)
    return without(listed, without(listed, others))
