"""One of several runs of the same cells, and what it had otherwise than the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from robustbench_wb.records.record import Measurement
from robustbench_wb.spec import Spec


class SelfcheckSetting(Spec):
    """What one run has otherwise than another."""

    batch: int | None
    """Samples per forward pass; None: what a run takes by itself."""
    threads: int
    """Of torch, on the CPU."""
    reversed: bool
    """Whether subjects and stressors come in the opposite order."""


@dataclass(frozen=True)
class SelfcheckRun:
    """One run."""

    setting: SelfcheckSetting
    cells: Sequence[Measurement]
