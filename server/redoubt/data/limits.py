"""Up to which size a structure is packed: the directives that steer encodings, as numbers at hand.

Commands ask at every change, and readers of RDB for every value, so the numbers lie in one plain object that
follows the configuration instead of being looked up in it. Redis's defaults stand where there is no
configuration (a payload looked at by a test).

Owned by the server's state; the node has it follow the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from redoubt.config import Config

DIRECTIVES: Final = (
    "hash-max-listpack-entries",
    "hash-max-listpack-value",
    "set-max-intset-entries",
    "set-max-listpack-entries",
    "set-max-listpack-value",
    "list-max-listpack-size",
    "zset-max-listpack-entries",
    "zset-max-listpack-value",
    "stream-node-max-bytes",
    "stream-node-max-entries",
    "sanitize-dump-payload",
)
# What list-max-listpack-size means below 0: bytes, by its absolute value.
LIST_SIZES_BYTES: Final = (0, 4096, 8192, 16384, 32768, 65536)


class Limits:
    """The limits now in force."""

    def __init__(self) -> None:
        self.hash_fields = 512
        self.hash_bytes = 64
        self.set_integers = 512
        self.set_members = 128
        self.set_bytes = 64
        # A chunk of a list: so many elements, or, if that is 0, so many bytes.
        self.list_elements = 0
        self.list_bytes = 8192
        self.zset_members = 128
        self.zset_bytes = 64
        # A node of a stream; 0: no limit.
        self.stream_bytes = 4096
        self.stream_entries = 100
        # Whether packs in files, and in payloads from clients, are checked entry by entry.
        self.checks_files = True
        self.checks_payloads = True
        self._config: Config | None = None

    def follow(self, config: Config) -> None:
        """Take the values of the configuration, now and whenever they change."""
        self._config = config
        for name in DIRECTIVES:
            config.on_change(name, self._take)
        self._take()

    def _take(self) -> str:
        config = self._config
        assert config is not None
        self.hash_fields = config.hash_max_listpack_entries
        self.hash_bytes = config.hash_max_listpack_value
        self.set_integers = config.set_max_intset_entries
        self.set_members = config.set_max_listpack_entries
        self.set_bytes = config.set_max_listpack_value
        self.zset_members = config.zset_max_listpack_entries
        self.zset_bytes = config.zset_max_listpack_value
        self.stream_bytes = config.stream_node_max_bytes
        self.stream_entries = config.stream_node_max_entries
        size = config.list_max_listpack_size
        self.list_elements = max(size, 0)
        self.list_bytes = LIST_SIZES_BYTES[min(-size, len(LIST_SIZES_BYTES) - 1)] if size < 0 else 0
        self.checks_files = config.sanitize_dump_payload == "yes"
        self.checks_payloads = config.sanitize_dump_payload != "no"
        return ""
