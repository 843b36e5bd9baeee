"""Transfer (Papernot, McDaniel & Goodfellow 2016): images made on another subject, the surrogate, and then shown."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb.errors import MeasurementError
from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.stressors.attacks.batch import Batch
from robustbench_wb.stressors.attacks.oracle import Oracle, value_and_gradient
from robustbench_wb.stressors.attacks.pgd import Pgd
from robustbench_wb.stressors.stressor import predict


class Transfer(Pgd):
    """PGD against a surrogate. The subject is asked once per run, about what came of it; its gradients are not used.

    A run takes all its steps, whatever the surrogate says on the way: what a model gets wrong with confidence fools
    others more often than what it barely gets wrong (Carlini & Wagner 2017, section VIII D). Of the iterates, the one
    with the largest loss on the surrogate is shown. The first run of each loss begins at the image itself, so that a
    surrogate without gradients transfers nothing; restarts begin at random.
    """

    kind = "black-box"
    judged: ClassVar[bool] = True

    source: str = Field(default="vit", pattern=r"^[^;\s]+$")
    """The surrogate: a variant, or a model from outside; trained like the subjects of the run, but never given their
    checkpoint."""

    @property
    def surrogate(self) -> str:
        """The source."""
        return self.source

    @property
    def label(self) -> str:
        """Name and source: images of different surrogates are different rows."""
        return f"{self.name}:{self.source}"

    @property
    def passes(self) -> None:
        """Not known: most are the surrogate's own."""

    @property
    def iterations(self) -> int:
        """One look of the subject; the steps are the surrogate's."""
        return 1

    def begin(self, batch: Batch, seed: int) -> None:
        """At the image, from the second run of a loss on at a uniform draw from the ball."""
        super().begin(batch, seed)
        batch.x = torch.where((batch.run < len(self._losses)).view(-1, 1, 1, 1), batch.originals, batch.x)
        batch.memory["loss"] = torch.full(batch.index.shape, -torch.inf, device=batch.x.device)
        batch.memory["strongest"] = batch.x

    def move(self, batch: Batch, oracle: Oracle) -> None:
        """All steps on the surrogate, then one look of the subject at the strongest iterate."""
        usable = self._search(batch, oracle)
        batch.x = batch.memory["strongest"]
        oracle.logits(batch)
        place = (batch.rung, batch.index)
        oracle.failed[place] |= ~usable & ~oracle.broken[place]

    def _search(self, batch: Batch, oracle: Oracle) -> Tensor:
        """Find the strongest iterates; bool (B,): all numbers of the surrogate were finite."""
        surrogate, draws, chosen = oracle.job.surrogate, oracle.job.draws, self._loss(batch)
        if surrogate is None:
            raise MeasurementError(f"{self.name} makes its images on another model, and was given none")

        def loss(logits: Tensor) -> Tensor:
            return chosen(logits, batch.labels)

        usable = torch.ones_like(batch.index, dtype=torch.bool)
        for _ in range(self.steps):
            answer = value_and_gradient(surrogate, batch.x, loss, draws)
            self._keep(batch, answer.losses)
            usable &= torch.isfinite(answer.losses) & torch.isfinite(answer.gradient).flatten(1).all(1)
            self.climb(batch, torch.where(usable.view(-1, 1, 1, 1), answer.gradient, 0.0))
        last = loss(predict(surrogate, batch.x, len(batch), draws))
        self._keep(batch, last)
        oracle.note(batch, "surrogate/forwards", draws * (self.steps + 1))
        oracle.note(batch, "surrogate/backwards", draws * self.steps)
        return usable & torch.isfinite(last)

    def _keep(self, batch: Batch, losses: Tensor) -> None:
        better = losses > batch.memory["loss"]
        batch.put(better, "loss", losses)
        batch.put(better, "strongest", batch.x)


class TransferLinf(Transfer):
    """Images of the surrogate under a bound on the largest pixel change."""

    name: ClassVar[str] = "transfer-linf"
    norm: ClassVar[Norm] = LINF


class TransferL2(Transfer):
    """Images of the surrogate under a bound on the Euclidean length."""

    name: ClassVar[str] = "transfer-l2"
    norm: ClassVar[Norm] = L2_NORM
