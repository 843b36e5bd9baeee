"""Grades of attack results: the credibility checks and their limits. Every limit is written here, and nowhere else.

The checks follow Carlini et al. 2019 (arXiv 1902.06705), the flags of AutoAttack (Croce & Hein 2020, arXiv 2003.01690)
and the indicators of attack failure (Pintor et al. 2022, arXiv 2106.09947). Limits that are this package's own are
marked "ours".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.engine.credibility.search_losses import CROSS_ENTROPY, is_blinded_by_saturation, search_losses
from robustbench_wb.engine.credibility.written_input import NAME as WRITES_TO_INPUT
from robustbench_wb.records.credibility import Credibility, CredibilityCheck, Grade, combine
from robustbench_wb.records.record import Record, State
from robustbench_wb.stressors.attacks.ensemble import EnsembleAttack
from robustbench_wb.stressors.attacks.minimum_norm import MinimumNormAttack
from robustbench_wb.stressors.attacks.pixel_attack import PixelAttack
from robustbench_wb.stressors.stressor import AttackKind, Stressor

VANISHED = 0.01
"""Largest share of samples whose gradient vanishes (ours; AutoAttack and the indicators allow none)."""
LARGE_BALL = 0.05
"""Largest share of samples that stay correct in a ball of all inputs (ours; the indicators allow none)."""
BLACK_BOX = 0.02
"""Largest share of samples that only a black-box attack breaks (ours; AutoAttack: 0.002 of the test set)."""
LATE = 0.01
"""Largest share of samples that may break late in the budget (ours)."""
LATE_SHARE = 0.1
"""Share of the budget, at its end, in which a sample breaks late (ours)."""
CHANGED = 0.005
"""Largest share of samples whose outcome changes in the verification pass (ours)."""
DISORDER = 0.01
"""Largest share of samples that a weaker attack breaks and this one does not (ours; Carlini et al. allow none)."""
GAP_B = 0.01
"""Largest difference of accuracy to the strongest attack at the same strength for an A (ours)."""
GAP_C = 0.05
"""Largest difference of accuracy to the strongest attack at the same strength for a B (ours)."""
TOLERATED_SAMPLES = 1
"""Number of samples beyond a limit that is taken for chance."""

WEAKER: Final[Mapping[AttackKind, frozenset[AttackKind]]] = {
    "control": frozenset(),
    "single-step": frozenset({"control"}),
    "black-box": frozenset({"control"}),
    "white-box": frozenset({"control", "single-step"}),
    "ensemble": frozenset({"control", "single-step", "white-box"}),
}
"""Kinds of attacks that each kind must be at least as strong as."""


@dataclass(frozen=True, eq=False)
class GradedCell:
    """A cell to be graded: an attack and its result."""

    stressor: Stressor
    record: Record

    @property
    def tried(self) -> NDArray[np.bool_]:
        """Samples that are correctly classified without a perturbation, bool (N,)."""
        tried: NDArray[np.bool_] = self.record.states != State.WRONG
        return tried

    @property
    def broken(self) -> NDArray[np.bool_]:
        """Samples that are broken at this or a lower strength, bool (N,)."""
        broken: NDArray[np.bool_] = self.record.states == State.BROKEN
        return broken

    @property
    def accuracy(self) -> float:
        """Robust accuracy in [0, 1]; samples that errored count as broken."""
        return self.record.count(State.ROBUST) / max(len(self.record.states), 1)

    def on(self, ids: NDArray[np.int32]) -> "GradedCell":
        """The cell on some of its samples, whose ids ascend."""
        if np.array_equal(ids, self.record.ids):
            return self
        return GradedCell(self.stressor, self.record.select(np.searchsorted(self.record.ids, ids)))

    @property
    def is_proven_zero(self) -> bool:
        """Whether every sample is wrong when clean or has an adversarial example that the second pass confirms."""
        return bool((~self.tried | self.broken).all())


def _on_common_samples(row: GradedCell, other: GradedCell) -> tuple[GradedCell, GradedCell]:
    """Two cells on the samples that both have: one of them may have been stopped before its last sample."""
    if np.array_equal(row.record.ids, other.record.ids):
        return row, other
    ids = np.intersect1d(row.record.ids, other.record.ids)
    return row.on(ids), other.on(ids)


def grade_cell(row: GradedCell, rows: Sequence[GradedCell], probe: Mapping[str, float]) -> Credibility:
    """Grade the result of one attack.

    Args:
        row: the attack to grade.
        rows: all attacks on the same model, ``row`` included. Those with the same threat model are compared with it.
        probe: evidence of the model's probe; empty if there is none, which allows grade B at best.
    """
    same_threat = [
        other
        for other in rows
        if other is not row and other.stressor.threat == row.stressor.threat and other.stressor.kind is not None
    ]
    checks = [*_probe_checks(probe, row.stressor), _errors(row), _outcomes(row), _attack_gradient(row), _budget(row)]
    checks += [_converged(row), _order(row, same_threat), _strongest(row, same_threat)]
    made = tuple(check for check in checks if check is not None)
    return combine(tuple(_for_proven_zero(check) for check in made) if row.is_proven_zero else made)


def _check(name: str, value: float, *, limit: float, samples: int, worse: Grade, reason: str) -> CredibilityCheck:
    """Check of a value. It allows an A up to the limit, and the grade ``worse`` beyond."""
    return CredibilityCheck(
        name=name,
        grade="A" if value <= limit else worse,
        value=round(value, 6),
        limit=limit,
        samples=samples,
        reason=reason,
    )


def _for_proven_zero(check: CredibilityCheck) -> CredibilityCheck:
    """Check of a robust accuracy that concrete adversarial examples prove to be 0: it cannot be too high."""
    return check.model_copy(update={"grade": "B"}) if check.grade in ("C", "F") else check


def _probe_checks(probe: Mapping[str, float], attack: Stressor) -> list[CredibilityCheck]:
    """Checks of the model itself, from the evidence of its probe. Without a probe, a cell is graded B at best.

    A random model is attacked and judged by means over passes: randomness alone does not make its accuracy too high.
    """
    n = int(probe.get("probed", 0))
    if not n:
        reason = "the model was not probed: a gradient that misleads attacks would not be noticed"
        return [_check("probe", 1, limit=0, samples=0, worse="B", reason=reason)]
    random, probabilities, wrong_slope = probe["random"] > 0, probe["probabilities"] > 0, probe["slope_wrong"] > 0
    vanished_ce, vanished_margin, held, black_box_only = (
        int(probe[name]) for name in ("blind_ce", "blind_margin", "large_ball_held", "black_box_only")
    )
    passes = (
        "differ between forward passes: means over passes are evaluated" if random else "are the same in every pass"
    )
    kind = "probabilities: a second softmax flattens the gradient" if probabilities else "logits"
    slope = "is not the derivative of the forward pass" if wrong_slope else "agrees with central differences"
    if probe.get(WRITES_TO_INPUT):
        slope += ": the model changes its input in place, unseen by autograd (.data, .detach(), numpy)"
    beyond = (black_box_only - TOLERATED_SAMPLES) / n
    vanishes = "the gradient of the {} vanishes on {} of {} samples".format
    ce, margin = vanishes("cross-entropy", vanished_ce, n), vanishes("margin", vanished_margin, n)
    large = f"{held} of {n} samples stay correct in a ball of all inputs"
    black = f"{black_box_only} of {n} samples are broken by a black-box attack only"
    slopes, blinded = int(probe["slopes"]), is_blinded_by_saturation(attack)
    ce += "" if blinded or vanished_ce <= VANISHED * n else ": the attack has another loss"
    return [
        _check("deterministic", random, limit=0, samples=n, worse="B", reason=f"outputs {passes}"),
        _check("logits", probabilities, limit=0, samples=n, worse="C", reason=f"outputs are {kind}"),
        _check("cross-entropy", vanished_ce / n, limit=VANISHED, samples=n, worse="C" if blinded else "B", reason=ce),
        _check("gradient", vanished_margin / n, limit=VANISHED, samples=n, worse="F", reason=margin),
        _check("slope", wrong_slope, limit=0, samples=slopes, worse="F", reason=f"the gradient {slope}"),
        _check("large ball", held / n, limit=LARGE_BALL, samples=n, worse="F", reason=large),
        _check("black box", beyond, limit=BLACK_BOX, samples=n, worse="F", reason=black),
    ]


def _errors(row: GradedCell) -> CredibilityCheck:
    """Check that every sample was evaluated."""
    errors, n = row.record.count(State.ERRORED), len(row.record.states)
    reason = f"{errors} of {n} samples could not be evaluated"
    return _check("errors", errors, limit=0, samples=n, worse="C", reason=reason)


def _outcomes(row: GradedCell) -> CredibilityCheck:
    """Check that an independent second pass, in other batches, confirms the outcomes of the search."""
    n, changed = int(row.tried.sum()), row.record.wobble
    value = max(0, changed - TOLERATED_SAMPLES) / max(n, 1)
    reason = f"{changed} of {n} outcomes changed in the verification pass"
    return _check("verdicts", value, limit=CHANGED, samples=n, worse="C", reason=reason)


def _attack_gradient(row: GradedCell) -> CredibilityCheck | None:
    """Check of the gradients that the attack itself used on every sample; None for an attack that reports none.

    If the attack has another loss, vanishing gradients are first attributed to its searches by the cross-entropy.
    """
    evidence = row.record.evidence
    n = int(evidence.get("gradients", 0))
    if not n:
        return None
    # A sample may have a zero gradient at one step and a tiny one at another.
    vanished = min(n, int(evidence["zero_gradients"] + evidence["tiny_gradients"]))
    reason = f"the attack's gradient vanishes on {vanished} of {n} samples{_unit(evidence)}"
    excused = min(vanished, _searched_by_cross_entropy(row))
    reason += f", up to {excused} of them in the cross-entropy, which is one of its losses" if excused else ""
    samples = min(n, int(row.tried.sum()))
    value = (vanished - excused) / max(n - excused, 1)
    return _check("attack gradient", value, limit=VANISHED, samples=samples, worse="C", reason=reason)


def _searched_by_cross_entropy(row: GradedCell) -> int:
    """Number of samples that an attack with several losses searched by the cross-entropy, counted once per member."""
    losses, evidence = search_losses(row.stressor), row.record.evidence
    if CROSS_ENTROPY not in losses or len(losses) == 1:
        return 0
    if not isinstance(row.stressor, EnsembleAttack):
        return int(evidence.get("samples", 0))
    members = zip(row.stressor.members, row.stressor.attacks, strict=True)
    return sum(
        int(evidence.get(f"{name}/samples", 0)) for name, attack in members if CROSS_ENTROPY in search_losses(attack)
    )


def _budget(row: GradedCell) -> CredibilityCheck | None:
    """Check that robust samples were attacked with the whole budget; None for an attack that does not report it."""
    evidence = row.record.evidence
    if "held" not in evidence:
        return None
    held, full = int(evidence["held"]), int(evidence["held_to_the_end"])
    reason = f"{full} of {held} robust samples{_unit(evidence)} were attacked with the whole budget"
    samples = min(held, int(row.tried.sum()))
    return _check("budget", held - full, limit=0, samples=samples, worse="F", reason=reason)


def _unit(evidence: Mapping[str, float]) -> str:
    """How the evidence counts samples: an ensemble adds up the counts of its members."""
    return " (counted once per member)" if any(name.endswith("/samples") for name in evidence) else ""


def _converged(row: GradedCell) -> CredibilityCheck | None:
    """Check that few samples break late in the budget; None for attacks whose effort is not their number of passes.

    Minimum-norm attacks and attacks on pixels spend their whole budget on every sample.
    """
    if row.stressor.kind not in ("white-box", "ensemble") or row.stressor.passes is None:
        return None
    if isinstance(row.stressor, MinimumNormAttack | PixelAttack):
        return None
    passes, broken, n = row.record.forwards, row.broken & (row.record.forwards > 0), int(row.tried.sum())
    budget = int(passes.max(initial=0))
    late = int((broken & (passes > (1 - LATE_SHARE) * budget)).sum())
    value = (late - TOLERATED_SAMPLES) / max(n, 1)
    reason = f"{late} of {n} samples broke in the last {100 * LATE_SHARE:g} % of iterations"
    reason = f"not converged: {reason}" if value > LATE else reason
    return _check("converged", value, limit=LATE, samples=n, worse="C", reason=reason)


def _order(row: GradedCell, same_threat: Sequence[GradedCell]) -> CredibilityCheck | None:
    """Check that no weaker attack breaks what this one does not; None if there is no weaker attack."""
    below = WEAKER[row.stressor.kind] if row.stressor.kind is not None else frozenset()
    weaker = [other for other in same_threat if other.stressor.kind in below]
    if not weaker:
        return None
    pairs = [_on_common_samples(row, other) for other in weaker]
    own, worst = max(pairs, key=lambda pair: int((pair[1].broken & ~pair[0].broken).sum()))
    n, missed = int(own.tried.sum()), int((worst.broken & ~own.broken).sum())
    reason = f"{worst.stressor.name} breaks {missed} of {n} samples that {row.stressor.name} does not"
    value = max(0, missed - TOLERATED_SAMPLES) / max(n, 1)
    return _check("order", value, limit=DISORDER, samples=n, worse="C", reason=reason)


def _strongest(row: GradedCell, same_threat: Sequence[GradedCell]) -> CredibilityCheck:
    """Check of the difference to the strongest attack in the same ball. An A requires an ensemble in that ball."""
    pairs = [_on_common_samples(row, other) for other in (row, *same_threat)]
    own, best = max(pairs, key=lambda pair: pair[0].accuracy - pair[1].accuracy)
    n, gap = len(own.record.states), own.accuracy - best.accuracy
    if gap <= GAP_C and not any(cell.stressor.kind == "ensemble" for cell in (row, *same_threat)):
        return _check("strongest", 1, limit=0, samples=n, worse="B", reason="no ensemble attack was run in this ball")
    stronger = f"{best.stressor.name} leaves {100 * gap:.1f} points less; read this as an upper bound"
    reason = stronger if gap > 0 else "no attack in this ball is stronger"
    worse: Grade = "C" if gap > GAP_C else "B"
    return _check("strongest", gap, limit=GAP_B, samples=n, worse=worse, reason=reason)
