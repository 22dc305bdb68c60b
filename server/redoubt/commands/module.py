"""MODULE: there are no modules, and none can be loaded.

Clients and tools look with MODULE LIST whether a module is there, so it answers with none. What would load
one is refused as by a Redis whose `enable-module-command` is `no`.

The dispatcher runs these. Source: the MODULE pages of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.declare import ADMIN, NO_ASYNC_LOADING, NOSCRIPT, SERVER, command, container
from redoubt.resp.replies import ErrorReply, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

NOT_ALLOWED: Final = ErrorReply(
    b'ERR MODULE command not allowed. If the enable-module-command option is set to "local", you can run it '
    b"from a local connection, otherwise you need to set this option in the configuration file, and then "
    b"restart the server."
)
LOADS: Final = ADMIN | NOSCRIPT | NO_ASYNC_LOADING

container("MODULE", group=SERVER, since="4.0.0", summary="Look at modules, of which there are none.")


@command("MODULE LIST", group=SERVER, flags=ADMIN | NOSCRIPT, since="4.0.0", complexity="O(1)",
         summary="List the modules: none.", tips=("nondeterministic_output_order",))  # fmt: skip
def module_list(ctx: Session, argv: list[bytes]) -> Reply:
    """MODULE LIST."""
    return []


@command("MODULE LOAD", "path:string [arg [arg ...]]", group=SERVER, flags=LOADS, since="4.0.0",
         complexity="O(1)", summary="Refused: there are no modules.")  # fmt: skip
def module_load(ctx: Session, argv: list[bytes]) -> Reply:
    """MODULE LOAD."""
    return NOT_ALLOWED


@command("MODULE LOADEX", "path:string [CONFIG (name value)...] [ARGS args...]", group=SERVER, flags=LOADS,
         since="7.0.0", complexity="O(1)", summary="Refused: there are no modules.")  # fmt: skip
def module_loadex(ctx: Session, argv: list[bytes]) -> Reply:
    """MODULE LOADEX."""
    return NOT_ALLOWED


@command("MODULE UNLOAD", "name", group=SERVER, flags=LOADS, since="4.0.0", complexity="O(1)",
         summary="Refused: there are no modules.")  # fmt: skip
def module_unload(ctx: Session, argv: list[bytes]) -> Reply:
    """MODULE UNLOAD."""
    return NOT_ALLOWED
