"""The table of all directives, by topic, as CONFIG GET, the file and the documentation page list them.

Every topic has its module of rows; a new topic is a line here.
"""

from __future__ import annotations

from typing import Final

from redoubt.directives import cluster, general, memory, network, persistence, replication, security
from redoubt.directives.directive import Directive

ROWS: Final[list[Directive]] = [
    *network.ROWS,
    *general.ROWS,
    *security.ROWS,
    *memory.ROWS,
    *persistence.ROWS,
    *replication.ROWS,
    *cluster.ROWS,
]

# By name and by older name.
DIRECTIVES: Final[dict[str, Directive]] = {row.name: row for row in ROWS} | {
    row.alias: row for row in ROWS if row.alias
}
