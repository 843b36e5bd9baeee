"""FGSM (Goodfellow, Shlens & Szegedy 2015, eq. 1) and PGD (Madry et al. 2018, eq. 3) in Linf and L2."""

from fractions import Fraction
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.attacks.attack import Attack


class Fgsm(Attack):
    """One step of length eps along the steepest direction, from the image itself."""

    def start(self, images: Tensor, ids: Tensor, seed: int, run: int) -> Tensor:
        """The image."""
        return images

    def propose(self, current: Tensor, gradient: Tensor) -> Tensor:
        """A full step."""
        return current + self.radius * self.norm.steepest(gradient)


class FgsmLinf(Fgsm):
    """x + eps sign(grad)."""

    name: ClassVar[str] = "fgsm-linf"
    norm: ClassVar[Norm] = LINF


class FgsmL2(Fgsm):
    """x + eps grad / |grad|."""

    name: ClassVar[str] = "fgsm-l2"
    norm: ClassVar[Norm] = L2_NORM


class Pgd(Attack):
    """Projected ascent on the cross-entropy of the true label, from uniform random starts in the ball."""

    steps: int = Field(default=20, ge=1)
    step: Exact = Field(default=Fraction(1, 8), gt=0)
    """Step length as a share of eps. 1/8 at 20 steps is Madry's 2.5 eps / steps."""
    restarts: int = Field(default=1, ge=1)
    """Number of runs; a sample leaves at its first success."""

    @property
    def iterations(self) -> int:
        """Gradient steps in one run."""
        return self.steps

    @property
    def runs(self) -> int:
        """Runs per sample."""
        return self.restarts

    def start(self, images: Tensor, ids: Tensor, seed: int, run: int) -> Tensor:
        """A uniform draw from the ball, a function of (seed, signature, sample id, run)."""
        shape = tuple(images.shape[1:])
        return images + self.radius * self.norm.inside(ids, shape, seed, self.signature, run)

    def propose(self, current: Tensor, gradient: Tensor) -> Tensor:
        """A step of length step * eps."""
        return current + float(self.step * self.eps) * self.norm.steepest(gradient)


class PgdLinf(Pgd):
    """PGD under a bound on the largest pixel change."""

    name: ClassVar[str] = "pgd-linf"
    norm: ClassVar[Norm] = LINF


class PgdL2(Pgd):
    """PGD under a bound on the Euclidean length."""

    name: ClassVar[str] = "pgd-l2"
    norm: ClassVar[Norm] = L2_NORM
