"""Runs of a selfcheck: the same cells under settings that must not matter."""

from collections.abc import Sequence
from dataclasses import dataclass

from robustbench_wb.records.record import Measurement
from robustbench_wb.spec import Spec


class SelfcheckSetting(Spec):
    """Settings in which the runs of a selfcheck differ."""

    batch: int | None
    """Samples per forward pass; None: chosen automatically."""
    threads: int
    """CPU threads that torch uses."""
    reversed: bool
    """Whether models and stressors are evaluated in reverse order."""


@dataclass(frozen=True)
class SelfcheckRun:
    """One run of a selfcheck."""

    setting: SelfcheckSetting
    cells: Sequence[Measurement]
    """All cells of the run, in its order."""
