"""R8: the resident memory of workers over a million events, of which a fifth is enough to fill caches and pools."""

from collections.abc import Sequence

from benchmarks.comparison import Spread
from benchmarks.results import Figure, Target
from benchmarks.worker import Rebuilt

FLAT_PERCENT = 5.0
_MB = 2**20


def memory_of(workers: Sequence[Rebuilt]) -> Figure:
    """How much workers grew after the first fifth of the way, in percent of what they had by then."""
    most = Spread.of([worker.most_bytes / _MB for worker in workers])
    growth = Spread.of([(worker.most_bytes - worker.settled_bytes) / _MB for worker in workers])
    text = (
        "growth of a worker's resident memory over 1,000,000 events, after the first fifth"
        f" ({growth.median:.1f} MB of {most.median:.0f} MB)"
    )
    return Figure("R8", text, Spread.of([w.growth_percent for w in workers]), Target(FLAT_PERCENT, True, " %"))
