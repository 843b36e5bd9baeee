"""Probe of a model that grades all its cells: does its gradient mislead attacks?"""

from abc import abstractmethod
from collections.abc import Callable
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
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Stressor

SLOPE_SAMPLES = 8
"""Number of samples whose gradient is compared with central differences."""


class Probe(Stressor):
    """Stressor that perturbs nothing and gathers evidence on whether attacks on the model can fail.

    In a ball of all inputs, a gradient attack must succeed. In the ball of radius ``eps``, a black-box attack must not
    break what a gradient attack does not break.
    """

    random_start: ClassVar[Callable[..., Stressor]]
    """PGD in Linf from a random start. Takes ``eps``, ``steps`` and ``step``."""
    clean_start: ClassVar[Callable[..., Stressor]]
    """PGD in Linf from the unperturbed sample. In a ball of all inputs, a random start alone would succeed."""
    large_radius: ClassVar[Fraction]
    """Linf radius of a ball of all inputs."""

    eps: Exact = Field(gt=0)
    """Linf radius in which gradient and black-box attack are compared."""
    looked_at: int = Field(default=64, ge=1)
    """Number of probed samples: the first that are correct when clean. The caller selects them."""
    steps: int = Field(default=40, ge=1)
    """Steps of PGD, in both balls."""
    queries: int = Field(default=300, ge=1)
    """Queries of the black-box attack."""

    def adversarial(self) -> bool:
        """Always true: the probe takes only samples that are correct when clean."""
        return True

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Probe the model on the samples, and return them unperturbed, with the evidence."""
        count = len(batch.ids)
        none = np.zeros(count, np.int32)
        evidence = self._evidence(batch, access.silent()) if count else {}
        access.advance(count)
        return PerturbedBatch(inputs=batch.inputs, forwards=none, backwards=none.copy(), evidence=evidence)

    def _evidence(self, batch: SampleBatch, access: ModelAccess) -> dict[str, float]:
        """Numbers of samples and flags (0 or 1), by the names that records store."""
        logits = access.predict(batch.inputs)
        far, near = (
            attack(eps=eps, steps=self.steps, step=Fraction(1, 8)).apply(batch, access)
            for attack, eps in ((self.clean_start, self.large_radius), (self.random_start, self.eps))
        )
        held = ~broken_flags(near.broken, batch)
        return {
            "probed": len(batch.ids),
            "random": float(access.draws > 1),
            "probabilities": float(_are_probabilities(logits)),
            "large_ball_held": int((~broken_flags(far.broken, batch)).sum()),
            "black_box_only": self.count_broken_by_black_box(batch.select(held), access) if held.any() else 0,
            **{
                f"blind_{name}": int(
                    (self.loss_gradient(batch, access, LOSSES[name]).abs().flatten(1).amax(1) < TINY).sum()
                )
                for name in ("ce", "margin")
            },
            **self._slope_evidence(batch, access),
        }

    def _slope_evidence(self, batch: SampleBatch, access: ModelAccess) -> dict[str, float]:
        """Compare the gradient of the first samples with central differences, as the doctor does.

        A randomised model computes another function in every pass, so there is nothing to compare.
        """
        if access.draws > 1:
            return {"slopes": 0.0, "slope_wrong": 0.0}
        model, inputs = self.differentiable(batch.select(np.arange(len(batch.ids)) < SLOPE_SAMPLES), access)
        error, _, tolerance = slope_error(model, inputs)
        return {
            "slopes": 0.0 if error is None else len(inputs),
            "slope_wrong": float(error is not None and error > tolerance),
        }

    @abstractmethod
    def count_broken_by_black_box(self, batch: SampleBatch, access: ModelAccess) -> int:
        """Number of samples that an attack without gradients breaks in the ball of radius ``eps``."""

    @abstractmethod
    def loss_gradient(self, batch: SampleBatch, access: ModelAccess, loss: Loss) -> Tensor:
        """Gradient of each sample's loss at the unperturbed sample, (N, ...)."""

    @abstractmethod
    def differentiable(self, batch: SampleBatch, access: ModelAccess) -> tuple[nn.Module, Tensor]:
        """The model as a function of continuous inputs, and the inputs (N, ...)."""


def broken_flags(broken: NDArray[np.bool_] | None, batch: SampleBatch) -> NDArray[np.bool_]:
    """Samples that an attack broke, bool (N,); all False for an attack that does not say."""
    return np.zeros(len(batch.ids), np.bool_) if broken is None else broken


def _are_probabilities(logits: Tensor) -> bool:
    """Whether all rows are probabilities within 1e-5 (the rule of AutoAttack's own check)."""
    sums = (logits.sum(1) - 1).abs().max()
    return bool(logits.min() > -1e-5) and bool(logits.max() < 1 + 1e-5) and float(sums) < 1e-5
