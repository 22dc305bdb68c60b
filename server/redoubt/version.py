"""Which Redis this server behaves as, and its own version.

Clients and tools gate features on `redis_version` of INFO and HELLO, so it names the Redis whose behaviour
we have. `redoubt_version` is ours, equal to the version of the distribution (a test compares them).
"""

from __future__ import annotations

from typing import Final

REDIS_VERSION: Final = "7.4.0"
REDOUBT_VERSION: Final = "0.1.0"
