"""The examination of a subject that all its rows share: is there anything that would blind an attack?"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from robustbench_wb.engine.doctor.gradient_checks import slope_error
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.attacks.attack_losses import LOSSES, Loss
from robustbench_wb.stressors.attacks.model_queries import TINY
from robustbench_wb.stressors.stressor import PerturbedBatch, SampleBatch, Stressor, predict

SLOPES = 8
"""Samples whose gradient is compared with differences."""


class Probe(Stressor):
    """Looks at the samples of a job. Perturbs nothing: its outcome is its evidence.

    In a ball that holds everything, an attack by gradients must succeed; in the ball of radius ``eps``, what held
    against gradients must hold against a black box.
    """

    attack: ClassVar[Callable[..., Stressor]]
    """PGD in Linf, from a random start; takes ``eps``, ``steps`` and ``step``."""
    straight: ClassVar[Callable[..., Stressor]]
    """The same from the sample itself: in a ball that holds everything, a random start would succeed by itself."""
    large: ClassVar[Fraction]
    """Linf radius of a ball that holds everything."""

    eps: Exact = Field(gt=0)
    """Linf radius in which the black box and the gradient compete."""
    looked_at: int = Field(default=64, ge=1)
    """Samples: the first that are right when clean. Whoever makes the job sees to it."""
    steps: int = Field(default=40, ge=1)
    """Of PGD, in the large ball as in the other."""
    queries: int = Field(default=300, ge=1)
    """Of the black box."""

    def adversarial(self) -> bool:
        """Whether it is given samples that are right when clean, and no others."""
        return True

    def apply(self, job: SampleBatch) -> PerturbedBatch:
        """Examine; the inputs come back as they are."""
        count = len(job.ids)
        none = np.zeros(count, np.int32)
        evidence = self._examine(replace(job, advance=lambda done: None)) if count else {}
        job.advance(count)
        return PerturbedBatch(job.inputs, none, none.copy(), evidence=evidence)

    def _examine(self, job: SampleBatch) -> dict[str, float]:
        logits = predict(job.model, job.inputs, job.batch, job.draws)
        far, near = (
            kind(eps=eps, steps=self.steps, step=Fraction(1, 8)).apply(job)
            for kind, eps in ((self.straight, self.large), (self.attack, self.eps))
        )
        held = ~flags(near.broken, job)
        return {
            "probed": len(job.ids),
            "random": float(job.draws > 1),
            "probabilities": float(_are_probabilities(logits)),
            "large_ball_held": int((~flags(far.broken, job)).sum()),
            "black_box_only": self.black_box(job.rows(held)) if held.any() else 0,
            **{
                f"blind_{name}": int((self.gradient(job, LOSSES[name]).abs().flatten(1).amax(1) < TINY).sum())
                for name in ("ce", "margin")
            },
            **_slope(job, *self.sloped(job.rows(np.arange(len(job.ids)) < SLOPES))),
        }

    @abstractmethod
    def black_box(self, job: SampleBatch) -> int:
        """How many samples fall in that ball without gradients."""

    @abstractmethod
    def gradient(self, job: SampleBatch, loss: Loss) -> Tensor:
        """Of each sample's own loss, at the sample, (N, ...)."""

    @abstractmethod
    def sloped(self, job: SampleBatch) -> tuple[nn.Module, Tensor]:
        """What is differentiated: a function of continuous inputs, and the inputs."""


def flags(broken: NDArray[np.bool_] | None, job: SampleBatch) -> NDArray[np.bool_]:
    """What a search has broken, bool (N,)."""
    return np.zeros(len(job.ids), np.bool_) if broken is None else broken


def _are_probabilities(logits: Tensor) -> bool:
    """Whether all rows are within 1e-5 of probabilities (the rule of AutoAttack's own check)."""
    sums = (logits.sum(1) - 1).abs().max()
    return bool(logits.min() > -1e-5) and bool(logits.max() < 1 + 1e-5) and float(sums) < 1e-5


def _slope(job: SampleBatch, model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """Whether the gradient is the derivative of what is computed, as the doctor finds it out.

    What a random model computes is another function in every pass: there is nothing to compare.
    """
    if job.draws > 1:
        return {"slopes": 0.0, "slope_wrong": 0.0}
    error, _, tolerance = slope_error(model, inputs)
    return {
        "slopes": 0.0 if error is None else len(inputs),
        "slope_wrong": float(error is not None and error > tolerance),
    }
