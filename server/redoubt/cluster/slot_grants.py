"""What must not be forgotten of a slot migration that has passed its point of no return.

The source *grants* the slots: from then on it claims and serves them no more, also after a restart, and a
replica that succeeds it does not either, until it is certain whether the target has them. The target *takes*
them: it has everything of them, and so have its replicas; if it dies before its claim is known, a replica of
it claims them in its place, and if it restarts alone, an answer that still names the source counts for it.

Both sides keep the same record, in `Topology.grants` and `Topology.takings`; nodes.conf keeps both, as a
variable which Redis skips. `migration_outcome` ends grants, `migration_import` ends takings.
"""

from __future__ import annotations

from redoubt.cluster.slots import format_ranges, mask_of_ranges, parse_ranges, ranges_of


class SlotGrant:
    """One migration's slots, between their owners."""

    def __init__(self, name: str, source_id: str, target_id: str, epoch: int, mask: int) -> None:
        self.name = name
        self.source_id = source_id
        self.target_id = target_id
        # The source's config epoch when it granted: an owner under a higher one has taken the slots back.
        self.epoch = epoch
        self.mask = mask


def mask_of_grants(grants: dict[str, SlotGrant]) -> int:
    """Join the slots of several grants."""
    mask = 0
    for grant in grants.values():
        mask |= grant.mask
    return mask


def render_grants(grants: dict[str, SlotGrant]) -> str:
    """Write grants as one word of nodes.conf."""
    words = []
    for grant in grants.values():
        ranges = format_ranges(ranges_of(grant.mask)).replace(" ", ",")
        words.append(f"{grant.name}:{grant.source_id}:{grant.target_id}:{grant.epoch}:{ranges}")
    return ";".join(words)


def parse_grants(word: str) -> dict[str, SlotGrant]:
    """Read what `render_grants` wrote; ValueError if malformed."""
    grants: dict[str, SlotGrant] = {}
    for row in word.split(";"):
        fields = row.split(":")
        if len(fields) != 5:
            raise ValueError(f"expected a grant of slots, found {row[:80]!r}")
        name, source_id, target_id, epoch, ranges = fields
        mask = mask_of_ranges(parse_ranges(ranges.replace(",", " ")))
        grants[name] = SlotGrant(name, source_id, target_id, int(epoch), mask)
    return grants
