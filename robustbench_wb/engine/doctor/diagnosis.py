"""Results of an examination: one finding per check, and the forecast cost of a suite."""

from typing import TYPE_CHECKING, Literal

from robustbench_wb.frames import columns, to_frame
from robustbench_wb.spec import Spec

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["ok", "warn", "fail", "skipped"]


class DoctorFinding(Spec):
    """Result of one check."""

    check: str
    verdict: Verdict
    """``fail``: numbers measured on this model would be wrong; ``warn``: they may be; ``skipped``: not applicable."""
    measured: str
    """What was measured, with its values."""
    fix: str = ""
    """What to change, in one sentence; empty if no change is needed."""


class Forecast(Spec):
    """Largest cost of a suite on one model: that of a run in which no sample is broken. Broken samples cost less."""

    suite: str
    scale: str
    samples: int
    """Evaluated samples per cell."""
    cells: int
    forwards: int
    """Forward passes, counted per sample."""
    backwards: int
    """Input gradients, counted per sample."""
    train_samples: int
    """Training samples, counted once per epoch; 0 if the model is not trained."""
    seconds: float
    uncounted: tuple[str, ...] = ()
    """Names of stressors that do not report their cost in advance; it is not included."""


class Diagnosis(Spec):
    """All findings on one model, and what the requested suite will cost on it."""

    subject: str
    size: str
    task: str
    device: str
    parameters: int
    """Number of parameters; 0 if the model cannot be built."""
    findings: tuple[DoctorFinding, ...]
    forecast: Forecast | None
    """Cost of the suite; None if the model cannot be timed."""

    @property
    def healthy(self) -> bool:
        """Whether no check failed."""
        return all(finding.verdict != "fail" for finding in self.findings)

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per check."""
        return to_frame(columns(finding) for finding in self.findings)
