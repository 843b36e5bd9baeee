"""What a check says."""

from typing import Literal

from robustbench_wb.spec import Spec

Verdict = Literal["ok", "warn", "fail", "skipped"]


class DoctorFinding(Spec):
    """The answer of one check."""

    check: str
    verdict: Verdict
    """``fail``: numbers measured on this subject would be wrong; ``warn``: they may be; ``skipped``: not applicable."""
    measured: str
    """What was looked at, with its numbers."""
    fix: str = ""
    """What to do, in one sentence; empty when there is nothing to do."""


class Forecast(Spec):
    """What a suite will cost at most; samples that break early cost less."""

    suite: str
    scale: str
    samples: int
    cells: int
    forwards: int
    """Forward passes, in samples."""
    backwards: int
    """Input gradients, in samples."""
    train_samples: int
    """Samples of training, counted once per epoch; 0 when nothing is trained."""
    seconds: float
    uncounted: tuple[str, ...] = ()
    """Stressors whose cost is not known beforehand."""


class Diagnosis(Spec):
    """All that the doctor found."""

    subject: str
    size: str
    task: str
    device: str
    parameters: int
    findings: tuple[DoctorFinding, ...]
    forecast: Forecast | None

    @property
    def healthy(self) -> bool:
        """Whether no check failed."""
        return all(finding.verdict != "fail" for finding in self.findings)
