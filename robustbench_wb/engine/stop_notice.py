"""What a run with several workers says when it is asked to stop: what it still waits for, and about how long."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from robustbench_wb.progress import duration_text

NAMED: Final = 3
"""Shards, or trainings, that are named; more are counted."""


@dataclass
class ShardPace:
    """Seconds that finished shards took, beside their forecast."""

    taken: float = 0.0
    forecast: float = 0.0

    def add(self, forecast: float, taken: float) -> None:
        """Add a finished shard; nothing is known from one without a forecast."""
        if forecast > 0:
            self.taken, self.forecast = self.taken + taken, self.forecast + forecast

    @property
    def factor(self) -> float:
        """Seconds for a forecast second; 1 before any shard is finished."""
        return self.taken / self.forecast if self.forecast else 1.0


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """A shard that is being measured."""

    what: str
    """Name of its model and of its stressor."""
    forecast: float
    """Forecast seconds; 0: not known, as for a model that may have to be trained."""
    passed: float
    """Seconds since its start."""

    def left(self, pace: ShardPace) -> float | None:
        """Seconds that are left by the pace so far; None if the forecast is not known, or was too short."""
        left = self.forecast * pace.factor - self.passed
        return left if left > 0 else None


def stop_notice(
    flying: Sequence[InFlight], pace: ShardPace, *, training: Sequence[str] = (), limit: float | None
) -> str:
    """One line: what is finished before the run ends, about how long that takes, and how to stop at once.

    Args:
        flying: the shards that are being measured.
        pace: what finished shards took.
        training: names of the models that are being trained, which is not finished.
        limit: seconds that the shards have at most; None: as long as they take.
    """
    words = list[str]()
    if training:
        words.append(f"stopping the training of {_names(training)}; the next run continues it from its last snapshot")
    if flying:
        left = [one.left(pace) for one in flying]
        known = [seconds for seconds in left if seconds is not None]
        if limit is not None:
            time = f"for at most {limit:g} s"
        elif len(known) == len(left):
            time = f"which takes about {duration_text(max(1.0, *known))}"
        else:
            time = "which takes a time that is not known"
        names = _names([one.what for one in flying])
        words.append(f"finishing and storing {names}, {time}; Ctrl-C again stops at once")
    return "; ".join(words) or "stopping: nothing is being measured"


def _names(names: Sequence[str]) -> str:
    """The first names; others are counted."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
