"""The checks of a row and their limits. Every limit is written here, and nowhere else.

The checks follow Carlini et al. 2019 (arXiv 1902.06705), the flags of AutoAttack (Croce & Hein 2020) and the indicators
of attack failure (Pintor et al. 2022); limits that are ours are marked so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.records.credibility import Credibility, CredibilityCheck, Grade, combine
from robustbench_wb.records.record import Record, State
from robustbench_wb.stressors.stressor import AttackKind, Stressor

BLIND = 0.01
"""Largest share of samples without a gradient (ours; AutoAttack and the indicators allow none)."""
LARGE_BALL = 0.05
"""Largest share of samples that may hold where everything is allowed (ours; the indicators allow none)."""
BLACK_BOX = 0.02
"""Largest share of samples that only the black box breaks (ours; AutoAttack: 0.002 of the test set)."""
LATE, LATE_SHARE = 0.01, 0.1
"""Largest share of samples that may fall in the last tenth of the budget (ours)."""
DISORDER = 0.01
"""Largest share of samples that a weaker attack breaks and this one does not (Carlini et al.: none; ours)."""
GAP_B, GAP_C = 0.01, 0.05
"""How much lower the strongest attack at this strength may be (ours)."""
FEW = 1
"""One sample more than a share allows is chance."""

WEAKER: Final[Mapping[AttackKind, frozenset[AttackKind]]] = {
    "control": frozenset(),
    "single-step": frozenset({"control"}),
    "black-box": frozenset({"control"}),
    "white-box": frozenset({"control", "single-step"}),
    "ensemble": frozenset({"control", "single-step", "white-box"}),
}
"""What each must be at least as strong as."""


@dataclass(frozen=True, eq=False)
class GradedCell:
    """One row: the stressor and what it did."""

    stressor: Stressor
    record: Record

    @property
    def tried(self) -> NDArray[np.bool_]:
        """Samples that were right when clean."""
        tried: NDArray[np.bool_] = self.record.states != State.WRONG
        return tried

    @property
    def broken(self) -> NDArray[np.bool_]:
        """Samples that fell here or at a lower strength."""
        broken: NDArray[np.bool_] = self.record.states == State.BROKEN
        return broken

    @property
    def accuracy(self) -> float:
        """Robust accuracy; what errored counts as broken."""
        return self.record.count(State.ROBUST) / max(len(self.record.states), 1)


def grade(row: GradedCell, rows: Sequence[GradedCell], probe: Mapping[str, float]) -> Credibility:
    """Grade one row, knowing all rows of its subject (itself among them) and the evidence of the probe (or none)."""
    beside = [
        other
        for other in rows
        if other is not row and other.stressor.threat == row.stressor.threat and other.stressor.kind is not None
    ]
    checks = [*_of_subject(probe), _errors(row), _verdicts(row), _gradients(row), _spent(row), _converged(row)]
    checks += [_order(row, beside), _strongest(row, beside)]
    return combine(tuple(check for check in checks if check is not None))


def _check(name: str, value: float, limit: float, samples: int, worse: Grade, reason: str) -> CredibilityCheck:
    return CredibilityCheck(
        name=name,
        grade="A" if value <= limit else worse,
        value=round(value, 6),
        limit=limit,
        samples=samples,
        reason=reason,
    )


def _of_subject(probe: Mapping[str, float]) -> list[CredibilityCheck]:
    """What the probe has found; without one, a row is graded B at best."""
    n = int(probe.get("probed", 0))
    if not n:
        return [_check("probe", 1, 0, 0, "B", "the subject was not examined for what blinds attacks")]
    random, probabilities, sloped = probe["random"] > 0, probe["probabilities"] > 0, probe["slope_wrong"] > 0
    blind_ce, blind, far, black = (
        int(probe[name]) for name in ("blind_ce", "blind_margin", "large_ball_held", "black_box_only")
    )
    repeat = (
        "differ from pass to pass: what is judged are means over passes" if random else "are the same in every pass"
    )
    kind = "probabilities: a second softmax flattens the gradient" if probabilities else "logits"
    slope = "is not the derivative of what is computed" if sloped else "agrees with central differences"
    return [
        _check("deterministic", random, 0, n, "C", f"answers {repeat}"),
        _check("logits", probabilities, 0, n, "C", f"answers are {kind}"),
        _check("cross-entropy", blind_ce / n, BLIND, n, "C", f"no gradient of the cross-entropy at {blind_ce} of {n}"),
        _check("gradient", blind / n, BLIND, n, "F", f"no gradient of the margin at {blind} of {n}"),
        _check("slope", sloped, 0, int(probe["slopes"]), "F", f"the gradient {slope}"),
        _check("large ball", far / n, LARGE_BALL, n, "F", f"{far} of {n} hold where everything is allowed"),
        _check("black box", (black - FEW) / n, BLACK_BOX, n, "F", f"{black} of {n} fall without gradients only"),
    ]


def _errors(row: GradedCell) -> CredibilityCheck:
    errors, n = row.record.count(State.ERRORED), len(row.record.states)
    return _check("errors", errors, 0, n, "C", f"{errors} of {n} samples could not be judged")


def _verdicts(row: GradedCell) -> CredibilityCheck:
    n, wobble = int(row.tried.sum()), row.record.wobble
    reason = f"{wobble} of {n} verdicts changed in the second pass"
    return _check("verdicts", max(0, wobble - FEW) / max(n, 1), 0.005, n, "C", reason)


def _gradients(row: GradedCell) -> CredibilityCheck | None:
    """Of the attack's own gradients, on every sample that it tried."""
    evidence = row.record.evidence
    asked = int(evidence.get("gradients", 0))
    if not asked:
        return None
    blind = evidence["zero_gradients"] + evidence["tiny_gradients"]
    return _check(
        "attack gradient", blind / asked, BLIND, asked, "C", f"{blind:.0f} of {asked} samples met no gradient"
    )


def _spent(row: GradedCell) -> CredibilityCheck | None:
    evidence = row.record.evidence
    if "held" not in evidence:
        return None
    held, full = int(evidence["held"]), int(evidence["held_to_the_end"])
    return _check("budget", held - full, 0, held, "F", f"{full} of {held} samples that held were attacked to the end")


def _converged(row: GradedCell) -> CredibilityCheck | None:
    """Whether samples were still falling when the budget ended; of attacks whose passes are their effort."""
    if row.stressor.kind not in ("white-box", "ensemble") or row.stressor.passes is None:
        return None
    passes, fell, n = row.record.forwards, row.broken & (row.record.forwards > 0), int(row.tried.sum())
    budget = int(passes.max(initial=0))
    late = int((fell & (passes > (1 - LATE_SHARE) * budget)).sum())
    reason = f"{late} of {n} samples fell in the last tenth of {budget} passes"
    return _check("converged", (late - FEW) / max(n, 1), LATE, n, "C", reason)


def _order(row: GradedCell, beside: Sequence[GradedCell]) -> CredibilityCheck | None:
    """No weaker attack may break what this one does not."""
    below = WEAKER[row.stressor.kind] if row.stressor.kind is not None else frozenset()
    weaker = [other for other in beside if other.stressor.kind in below]
    if not weaker:
        return None
    n = int(row.tried.sum())
    worst = max(weaker, key=lambda other: int((other.broken & ~row.broken).sum()))
    missed = int((worst.broken & ~row.broken).sum())
    reason = f"{worst.stressor.name} breaks {missed} of {n} samples that {row.stressor.name} does not"
    return _check("order", max(0, missed - FEW) / max(n, 1), DISORDER, n, "C", reason)


def _strongest(row: GradedCell, beside: Sequence[GradedCell]) -> CredibilityCheck:
    """The gap to the strongest attack in the same ball; an ensemble must have been tried for an A."""
    n = len(row.record.states)
    best = min([row, *beside], key=lambda outcome: outcome.accuracy)
    gap = row.accuracy - best.accuracy
    if gap <= GAP_C and not any(outcome.stressor.kind == "ensemble" for outcome in (row, *beside)):
        return _check("strongest", 1, 0, n, "B", "no ensemble was run in this ball")
    reason = (
        f"{best.stressor.name} leaves {100 * gap:.1f} points less" if gap > 0 else "nothing in this ball is stronger"
    )
    return _check("strongest", gap, GAP_B, n, "C" if gap > GAP_C else "B", reason)
