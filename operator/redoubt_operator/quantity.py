"""Kubernetes quantities (`500m`, `1Gi`, `1e3`): read to exact numbers and compared by value.

The API server prints them in a canonical form that need not be the one that was sent (`0.1` comes back as
`100m`), so equality of texts means nothing. Source: k8s.io/apimachinery, pkg/api/resource.
"""

import re
from decimal import Decimal
from typing import Final

_FORM: Final = re.compile(
    r"^([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?[0-9]{1,3})?$"
)

_FACTORS: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


def parse(text: str) -> Decimal | None:
    """The number that a quantity stands for, or None when the text is not a quantity."""
    match = _FORM.match(text)
    if match is None:
        return None
    number, suffix = match.groups()
    if not suffix:
        return Decimal(number)
    factor = _FACTORS.get(suffix)
    return Decimal(number) * (factor if factor is not None else Decimal("1" + suffix))


def bytes_of(text: str) -> int | None:
    """A quantity of memory or storage in whole bytes."""
    number = parse(text)
    return None if number is None else int(number)
