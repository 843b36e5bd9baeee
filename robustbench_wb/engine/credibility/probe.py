"""The examination of a subject that all its rows share: is there anything that would blind an attack?"""

from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from robustbench_wb.engine.doctor.gradients import slope_error
from robustbench_wb.engine.plan import Ladder
from robustbench_wb.norms import LINF
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.attacks.attack import Bounded
from robustbench_wb.stressors.attacks.batch import Batch
from robustbench_wb.stressors.attacks.losses import LOSSES, Loss
from robustbench_wb.stressors.attacks.oracle import TINY, value_and_gradient
from robustbench_wb.stressors.attacks.pgd import PgdLinf
from robustbench_wb.stressors.attacks.square import SquareLinf
from robustbench_wb.stressors.stressor import Job, Stressed, Stressor, predict

WHOLE_RANGE = Fraction(1)
"""A ball of this Linf radius holds every image: whoever attacks in it must succeed."""

SLOPES = 8
"""Samples whose gradient is compared with differences."""


class Straight(PgdLinf):
    """PGD from the image itself: in a ball that holds every image, a random start would succeed without a gradient."""

    name: ClassVar[str] = "pgd-straight-linf"

    def begin(self, batch: Batch, seed: int) -> None:
        """At the image."""
        batch.x = batch.originals


class Probe(Stressor):
    """Looks at the samples of a job. Perturbs nothing: its outcome is its evidence."""

    name: ClassVar[str] = "credibility-probe"

    eps: Exact = Field(gt=0)
    """Linf radius in which the black box and the gradient compete."""
    looked_at: int = Field(default=64, ge=1)
    """Samples: the first that are right when clean. Whoever makes the job sees to it."""
    steps: int = Field(default=40, ge=1)
    """Of PGD, in the whole range as in the ball."""
    queries: int = Field(default=300, ge=1)
    """Of the black box."""

    def adversarial(self) -> bool:
        """Whether it is given samples that are right when clean, and no others."""
        return True

    def apply(self, job: Job) -> Stressed:
        """Examine; the inputs come back as they are."""
        count = len(job.ids)
        none = np.zeros(count, np.int32)
        evidence = self._examine(job) if count else {}
        job.advance(count)
        return Stressed(job.inputs, none, none.copy(), evidence=evidence)

    def _examine(self, job: Job) -> dict[str, float]:
        logits = predict(job.model, job.inputs, job.batch)
        far = Straight(eps=WHOLE_RANGE, steps=self.steps, step=Fraction(1, 8)).apply(job)
        near = PgdLinf(eps=self.eps, steps=self.steps, step=Fraction(1, 8)).apply(job)
        held = ~_flags(near.broken, job)
        black = SquareLinf(eps=self.eps, queries=self.queries).apply(job.rows(held))
        return {
            "probed": len(job.ids),
            "random": float(job.draws > 1),
            "probabilities": float(_are_probabilities(logits)),
            "large_ball_held": int((~_flags(far.broken, job)).sum()),
            "black_box_only": int(_flags(black.broken, job.rows(held)).sum()),
            "blind_ce": _blind(job, LOSSES["ce"]),
            "blind_margin": _blind(job, LOSSES["margin"]),
            **_slope(job),
        }


def choose_probe(ladders: Sequence[Ladder]) -> Probe | None:
    """The probe of a list of ladders, at the middle radius of the first in Linf; None without attacks on images."""
    middle = [ladder.rungs[len(ladder.rungs) // 2] for ladder in ladders]
    balls = [rung for rung in middle if isinstance(rung, Bounded)]
    if not balls:
        return None
    return Probe(eps=next((rung.eps for rung in balls if rung.norm is LINF), Fraction(8, 255)))


def _flags(broken: NDArray[np.bool_] | None, job: Job) -> NDArray[np.bool_]:
    return np.zeros(len(job.ids), np.bool_) if broken is None else broken


def _are_probabilities(logits: Tensor) -> bool:
    """Whether all rows are within 1e-5 of probabilities (the rule of AutoAttack's own check)."""
    sums = (logits.sum(1) - 1).abs().max()
    return bool(logits.min() > -1e-5) and bool(logits.max() < 1 + 1e-5) and float(sums) < 1e-5


def _blind(job: Job, loss: Loss) -> int:
    """Samples whose gradient of a loss is zero or tiny."""
    answer = value_and_gradient(job.model, job.inputs, lambda logits: loss(logits, job.labels))
    return int((answer.gradient.abs().flatten(1).amax(1) < TINY).sum())


def _slope(job: Job) -> dict[str, float]:
    """Whether the gradient is the derivative of what is computed, as the doctor finds it out.

    What a random model computes is another function in every pass: there is nothing to compare.
    """
    if job.draws > 1:
        return {"slopes": 0.0, "slope_wrong": 0.0}
    error, _, tolerance = slope_error(job.model, job.inputs[:SLOPES])
    return {"slopes": 0.0 if error is None else SLOPES, "slope_wrong": float(error is not None and error > tolerance)}
