"""What ``evaluate`` returns: one row per stressor, with interval, grade and the outcome of every sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan, nan
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.frames import columns, to_frame
from robustbench_wb.records.credibility import GRADES, CredibilityCheck
from robustbench_wb.records.names import cell_name
from robustbench_wb.records.record import State
from robustbench_wb.records.score_row import CALIBRATION_COLUMNS, DETECTION_COLUMNS, TEXT_COLUMNS, ScoreRow
from robustbench_wb.report.grade_notes import GRADE_MEANING
from robustbench_wb.report.output_scores import OUTPUT_SCORES
from robustbench_wb.report.text_block import Column, TextBlock, plain_text, wrapped

if TYPE_CHECKING:
    import pandas as pd

_GRADES = ("robust accuracies are upper bounds", GRADE_MEANING)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class EvaluationRow:
    """Outcome of one stressor. Arrays have one entry per sample, in the order given."""

    stressor: str
    """Name without numbers, like ``pgd-linf``."""
    strength: str
    """Exact text, like ``8/255``; empty for a stressor without strength."""
    signature: str
    """Name and all numbers, like ``pgd-linf;eps=8/255;steps=20;step=1/8;restarts=1;loss=both``."""
    seed: int
    n: int
    """Number of samples."""
    accuracy: float
    """Share of samples classified correctly under the stressor; samples that could not be judged count as broken.

    NaN, like the interval, if the evaluation failed."""
    low: float
    """Low end of the 95 % Wilson interval."""
    high: float
    """High end of the 95 % Wilson interval; samples that could not be judged count as correct here."""
    grade: str
    """Credibility, A (best), B, C or F; empty for stressors that are not adversarial."""
    checks: tuple[CredibilityCheck, ...]
    """Checks behind the grade."""
    robust: int
    broken: int
    """Samples that are correct when clean and wrong under the stressor."""
    wrong: int
    """Samples that are wrong when clean, and still wrong."""
    errored: int
    """Samples that could not be judged."""
    error: str
    """One line; empty if all samples were judged."""
    forwards: float
    """Forward passes, mean per sample."""
    backwards: float
    """Input gradients, mean per sample."""
    seconds: float
    states: NDArray[np.int8]
    """Values of ``robustbench_wb.State``; ``NOT_RUN`` throughout if the evaluation failed."""
    losses: NDArray[np.float32]
    """Cross-entropy in nats at the perturbed input; NaN where not judged."""
    images: NDArray[np.float32] | None
    """Perturbed images (N, C, H, W) in [0, 1]; None unless ``keep_images``. Samples that were not tried are clean."""
    texts: tuple[str, ...] | None
    """Perturbed texts; None for images."""
    ece: float | None = None
    """Expected calibration error; None unless ``calibration`` is asked for, under attacks, and if a sample is missing.

    This and the following scores are described in ``robustbench_wb.records.score_row.ScoreRow``."""
    ece_low: float | None = None
    ece_high: float | None = None
    brier: float | None = None
    """Mean Brier score; None like ``ece``."""
    brier_low: float | None = None
    brier_high: float | None = None
    auroc: float | None = None
    """Area under the ROC curve of out-of-distribution detection; None unless the stressor is ``ood-*``."""
    auroc_low: float | None = None
    auroc_high: float | None = None
    constraint: str = ""
    """What a word attack keeps of the meaning of the text, or ``unconstrained``; empty for other stressors."""
    text_similarity: float | None = None
    """Mean cosine similarity of the broken texts to the unperturbed ones; None without a sentence encoder."""
    text_similarity_low: float | None = None
    text_similarity_high: float | None = None
    perplexity_ratio: float | None = None
    """Perplexity of the broken texts as a multiple of that of the unperturbed ones; None without a language model."""
    perplexity_ratio_low: float | None = None
    perplexity_ratio_high: float | None = None

    @property
    def name(self) -> str:
        """``pgd-linf@8/255``; without a strength the bare name."""
        return cell_name(self.stressor, self.strength)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the grade is no better than it is, worst first; empty for an A."""
        doubts = [check for check in self.checks if check.grade != "A"]
        return tuple(check.reason for check in sorted(doubts, key=lambda check: -GRADES.index(check.grade)))

    def __repr__(self) -> str:
        interval = f"[{100 * self.low:.1f}, {100 * self.high:.1f}]"
        result = self.error or f"{100 * self.accuracy:.1f} {interval} {self.grade}".rstrip()
        return f"<{self.name}: {result}, n = {self.n}>"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Evaluation:
    """Outcomes of several stressors on one model and the same samples. Printing it shows a table."""

    model: str
    """Class or function of the model."""
    classes: int
    """Number of logits."""
    n: int
    """Number of samples."""
    seed: int
    device: str
    rows: tuple[EvaluationRow, ...]
    """The clean row first."""
    notes: tuple[str, ...] = ()
    """What suggests that the labels do not fit the model; one line each."""

    def __iter__(self) -> Iterator[EvaluationRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> EvaluationRow:
        """Row by its name (``pgd-linf``), name with strength (``pgd-linf@8/255``) or signature.

        Raises:
            KeyError: no row, or more than one, has the name; the message lists what there is.
        """
        found = [row for row in self.rows if name in (row.stressor, row.name, row.signature)]
        if len(found) > 1:
            raise KeyError(f"{name!r} names {len(found)} rows; use one of: {', '.join(row.signature for row in found)}")
        if not found:
            raise KeyError(f"no row {name!r}; there are: {', '.join(row.name for row in self.rows)}")
        return found[0]

    def __contains__(self, name: object) -> bool:
        return any(name in (row.stressor, row.name, row.signature) for row in self.rows)

    def __repr__(self) -> str:
        return str(self)

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per stressor; without states, losses and perturbed inputs."""
        return to_frame(columns(row, ("states", "losses", "images", "texts", "checks")) for row in self.rows)

    def samples_to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per sample and one column of state names per stressor."""
        names = {int(state): state.name.lower() for state in State}
        states = {row.signature: [names[state] for state in row.states.tolist()] for row in self.rows}
        return to_frame({signature: found[sample] for signature, found in states.items()} for sample in range(self.n))

    def __str__(self) -> str:
        graded = any(row.grade for row in self.rows)
        scores = [score for score in OUTPUT_SCORES if any(score.row_text(row) for row in self.rows)]
        measured = (Column(score.unit_heading, "right") for score in scores)
        headings = (Column("stressor"), Column("accuracy", "right"), Column("interval"), *measured)
        columns = (*headings, Column("grade"), Column("doubt")) if graded else (*headings, Column(""))
        lines = tuple(
            (
                row.name,
                "error" if isnan(row.accuracy) else f"{100 * row.accuracy:.1f}",
                "" if isnan(row.accuracy) else f"[{100 * row.low:.1f}, {100 * row.high:.1f}]",
                *(score.row_text(row) for score in scores),
                *((row.grade,) if graded else ()),
                _why(row),
            )
            for row in self.rows
        )
        facts = f"{self.model}: n = {self.n}; seed {self.seed}; [95 % Wilson interval]"
        notes = (facts, *(_GRADES if graded else ()), *wrapped(self.notes))
        return plain_text([TextBlock(title="", columns=columns, rows=lines, notes=notes)]).rstrip()


def _why(row: EvaluationRow) -> str:
    if not row.error:
        return next(iter(row.reasons), "")
    return f"failed: {row.error}" if isnan(row.accuracy) else f"{row.errored} of {row.n} not judged: {row.error}"


def evaluation_row(
    row: ScoreRow,
    *,
    checks: tuple[CredibilityCheck, ...],
    states: NDArray[np.int8],
    losses: NDArray[np.float32],
    images: NDArray[np.float32] | None,
    texts: tuple[str, ...] | None,
) -> EvaluationRow:
    """The row of a score table as a row of an evaluation."""
    return EvaluationRow(
        stressor=row.stressor,
        strength=row.strength,
        signature=row.signature,
        seed=row.seed,
        n=row.n,
        accuracy=nan if row.accuracy is None else row.accuracy,
        low=nan if row.low is None else row.low,
        high=nan if row.high is None else row.high,
        grade=row.grade,
        checks=checks,
        robust=row.robust,
        broken=row.broken,
        wrong=row.wrong,
        errored=row.errored,
        error=row.error,
        forwards=row.forwards,
        backwards=row.backwards,
        seconds=row.seconds,
        states=states,
        losses=losses,
        images=images,
        texts=texts,
        constraint=row.constraint,
        **{name: getattr(row, name) for name in (*CALIBRATION_COLUMNS, *DETECTION_COLUMNS, *TEXT_COLUMNS)},
    )
