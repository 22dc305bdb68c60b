"""Directives of security: passwords, users, and what the server itself presents to others.

Rows of the table of `redoubt.directives.table`; what a row means stands in `redoubt.directives.directive`.
"""

from __future__ import annotations

from typing import Final

from redoubt.config_kinds import Choice, Integer, Secret, Text
from redoubt.directives.directive import Directive

ROWS: Final[list[Directive]] = [
    Directive("requirepass", Secret(), "Password of the default user; empty for none."),
    Directive("requirepass-file", Text(), "File that holds requirepass; read again on SIGHUP and when set."),
    Directive("masterauth", Secret(), "Password that is sent to the master and to the nodes of the cluster."),
    Directive("masterauth-file", Text(), "File that holds masterauth; read again on SIGHUP and when set."),
    Directive("masteruser", Text(), "User name that goes with masterauth; empty for the default user."),
    Directive(
        "aclfile",
        Text(),
        "File of the users; then the configuration must have no `user` lines.",
        is_mutable=False,
    ),
    Directive(
        "acl-pubsub-default",
        Choice("allchannels", "resetchannels"),
        "Whether a new user may use all channels or none.",
    ),
    Directive("acllog-max-len", Integer(0), "Number of refused accesses that ACL LOG remembers."),
]
