"""What a node tells Prometheus: metric families, who supplies their samples, and the text format.

A `Family` is declared once, at import, with its kind and its sentence of documentation; its header is made
then and never again. A part registers a function that returns samples of its families. Rendering goes family
by family, so that the health port can stop between two pieces and let the node work; a scrape that names
families (`name[]=`) asks only the parts that supply them. Names follow the community's redis_exporter
(`redis_*`), so that existing dashboards work; what only Redoubt has is `redoubt_*`.

Called by `redoubt.runtime.health`. The figures of the server itself are in `redoubt.metrics_server`. It keeps
no history. Source: the Prometheus text exposition format 0.0.4; github.com/oliver006/redis_exporter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from redoubt.state import ServerState

GAUGE: Final = "gauge"
COUNTER: Final = "counter"
HISTOGRAM: Final = "histogram"

# Samples that are written between two chances to stop: about 0.1 ms.
_SAMPLES_PER_PIECE: Final = 100


class Sample:
    """One value of a family; `labels` as `labels()` writes them.

    An int stays an int: annotated as float alone, the compiled build would make a float of it.
    """

    def __init__(self, family: Family, value: int | float, labels: str = "", suffix: str = "") -> None:
        self.family = family
        self.value = value
        self.labels = labels
        self.suffix = suffix  # of a histogram's series: _bucket, _sum, _count


class Family:
    """A metric's name, kind and documentation."""

    def __init__(self, name: str, kind: str, doc: str) -> None:
        self.name = name
        self.kind = kind
        self.doc = doc
        self.header = f"# HELP {name} {doc}\n# TYPE {name} {kind}\n"

    def sample(self, value: int | float, labels: str = "") -> Sample:
        """Make one sample; labels come from `labels()`."""
        return Sample(self, value, labels)


# A list may mix its families; a generator, for a supplier of thousands of samples, gives one after another.
Collect = Callable[["ServerState"], Iterable[Sample]]

FAMILIES: Final[dict[str, Family]] = {}
_COLLECTORS: Final[list[tuple[Collect, list[str]]]] = []


def gauge(name: str, doc: str) -> Family:
    """Declare a value that goes up and down."""
    return _declare(name, GAUGE, doc)


def counter(name: str, doc: str) -> Family:
    """Declare a value that only grows (until a restart or CONFIG RESETSTAT)."""
    return _declare(name, COUNTER, doc)


def histogram(name: str, doc: str) -> Family:
    """Declare a distribution; its samples come from `distribution`."""
    return _declare(name, HISTOGRAM, doc)


def _declare(name: str, kind: str, doc: str) -> Family:
    assert name not in FAMILIES, f"metric {name} is declared twice"
    FAMILIES[name] = Family(name, kind, doc)
    return FAMILIES[name]


def register(collect: Collect, families: list[Family]) -> None:
    """Have `collect` supply samples, and only of these families; all of one family in one function."""
    _COLLECTORS.append((collect, [family.name for family in families]))


def labels(pairs: list[tuple[str, str]]) -> str:
    """Write labels in the text format, escaped. Worth caching where it is asked often."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def distribution(
    family: Family, bounds: list[float], counts: list[int], total: int | float, own: str
) -> list[Sample]:
    """Make the samples of one histogram; `counts`: by bucket, the last one above all bounds."""
    samples = []
    seen = 0
    comma = "," if own else ""
    for bound, count in zip([*map(repr, bounds), "+Inf"], counts, strict=True):
        seen += count
        samples.append(Sample(family, seen, f'{own}{comma}le="{bound}"', "_bucket"))
    samples.append(Sample(family, total, own, "_sum"))
    samples.append(Sample(family, seen, own, "_count"))
    return samples


def _family_name(sample: Sample) -> str:
    return sample.family.name


def render(state: ServerState, names: set[str]) -> Iterator[str]:
    """Write the families named, or all if none is, in pieces of a fraction of a millisecond each."""
    for collect, families in _COLLECTORS:
        if names and names.isdisjoint(families):
            continue
        samples = collect(state)
        if isinstance(samples, list):
            samples = sorted(samples, key=_family_name)
        before = ""
        lines: list[str] = []
        for sample in samples:
            family = sample.family
            if names and family.name not in names:
                continue
            if family.name != before:
                before = family.name
                lines.append(family.header)
            marked = f"{{{sample.labels}}}" if sample.labels else ""
            lines.append(f"{family.name}{sample.suffix}{marked} {sample.value}\n")
            if len(lines) >= _SAMPLES_PER_PIECE:
                yield "".join(lines)
                lines = []
        yield "".join(lines)
