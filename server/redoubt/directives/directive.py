"""One row of the table of directives: what the server knows of a directive beside its value.

A row belongs into the module of its topic beside this one; `table.py` puts them together, and
`redoubt.config` has the attribute with type and default.
"""

from __future__ import annotations

from redoubt.config_kinds import Kind


class Directive:
    """What the server knows of one directive beside its value."""

    def __init__(
        self, name: str, kind: Kind, doc: str, is_mutable: bool = True, alias: str = "",
        is_protected: bool = False,
    ) -> None:  # fmt: skip
        self.name = name
        self.attribute = name.replace("-", "_")
        self.kind = kind
        self.doc = doc
        self.is_mutable = is_mutable
        self.alias = alias  # the older name that Redis still takes
        # Whoever may write files where he likes owns the machine: see enable-protected-configs.
        self.is_protected = is_protected
