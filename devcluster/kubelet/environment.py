"""References like $(NAME) in commands, arguments and environment values.

`$(NAME)` becomes the variable's value if one of that name was defined earlier, else stays as it is;
`$$(NAME)` is the way to write the text `$(NAME)`. Pure; called for each container start. Source: "Define
dependent environment variables" in the Kubernetes documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

REFERENCE: Final = re.compile(r"\$\$|\$\(([^()]*)\)")


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Return `text` with its references replaced."""

    def replaced(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return variables.get(found[1], found[0])

    return REFERENCE.sub(replaced, text)


def resource_value(quantity: str, divisor: str = "") -> str:
    """Return a quantity in units of `divisor` ("1" if empty), rounded up, as the downward API writes it."""
    units = quantity_value(divisor) if divisor and divisor != "0" else 1.0
    return str(-int(-quantity_value(quantity) // units))


SUFFIXES: Final = {
    "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip


def quantity_value(quantity: str) -> float:
    """Return the number that a Kubernetes quantity like "256Mi" or "100m" stands for."""
    found = re.fullmatch(r"([+-]?[0-9.]+(?:e[+-]?[0-9]+)?)([a-zA-Z]*)", str(quantity).strip())
    if not found or found[2] not in SUFFIXES:
        raise ValueError(f"not a quantity: {quantity!r}")
    return float(found[1]) * SUFFIXES[found[2]]
