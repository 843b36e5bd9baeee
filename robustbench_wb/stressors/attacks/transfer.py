"""Transfer attack (Papernot, McDaniel & Goodfellow 2016): images made on a surrogate model, then shown to the
target."""

from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb.errors import MeasurementError
from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.model_queries import ModelQueries, value_and_gradient
from robustbench_wb.stressors.attacks.pgd import Pgd


class TransferAttack(Pgd):
    """PGD against a surrogate. The attacked model classifies the result once per run; its gradients are not used.

    A run takes all its steps, whatever the surrogate predicts on the way: images that a model misclassifies with high
    confidence transfer more often than barely misclassified ones (Carlini & Wagner 2017, section VIII D). The iterate
    with the largest loss on the surrogate is shown to the attacked model. The first run of each loss begins at the
    clean image, so that a surrogate without gradients transfers nothing; restarts begin at random points.
    """

    kind = "black-box"
    classifies_iterates: ClassVar[bool] = True

    source: str = Field(default="vit", pattern=r"^[^;\s]+$")
    """The surrogate: a variant, or an external model. It is trained like the evaluated models but never uses their
    checkpoint."""

    @property
    def surrogate(self) -> str:
        """Name of the surrogate model."""
        return self.source

    @property
    def label(self) -> str:
        """Name and surrogate: different surrogates are different rows."""
        return f"{self.name}:{self.source}"

    @property
    def passes(self) -> None:
        """Unknown beforehand (None): most passes are spent on the surrogate."""

    @property
    def iterations(self) -> int:
        """One step on the attacked model; the gradient steps are on the surrogate."""
        return 1

    def begin(self, batch: ActiveRows, seed: int) -> None:
        """Start the first run of each loss at the clean image unless ``initial=random``, later runs at a uniform draw
        from the ball."""
        super().begin(batch, seed)
        if self.initial != "random":
            batch.x = torch.where((batch.run < len(self._losses)).view(-1, 1, 1, 1), batch.originals, batch.x)
        batch.memory["loss"] = torch.full(batch.index.shape, -torch.inf, device=batch.x.device)
        batch.memory["strongest"] = batch.x

    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        """Take all steps on the surrogate, then classify the strongest iterate with the attacked model."""
        usable = self._search(batch, oracle)
        batch.x = batch.memory["strongest"]
        oracle.logits(batch)
        place = (batch.rung, batch.index)
        oracle.failed[place] |= ~usable & ~oracle.broken[place]

    def _search(self, batch: ActiveRows, oracle: ModelQueries) -> Tensor:
        """Find the strongest iterates; bool (B,): all outputs of the surrogate were finite."""
        surrogate, draws, chosen = oracle.access.surrogate, oracle.access.draws, self._loss(batch)
        if surrogate is None:
            raise MeasurementError(f"{self.name} needs a surrogate model, and none was given")

        def loss(logits: Tensor) -> Tensor:
            return chosen(logits, batch.labels)

        usable = torch.ones_like(batch.index, dtype=torch.bool)
        for _ in range(self.steps):
            answer = value_and_gradient(surrogate, batch.x, loss, draws=draws)
            self._keep(batch, answer.losses)
            usable &= torch.isfinite(answer.losses) & torch.isfinite(answer.gradient).flatten(1).all(1)
            self.climb(batch, torch.where(usable.view(-1, 1, 1, 1), answer.gradient, 0.0))
        last = loss(replace(oracle.access, model=surrogate, batch_size=len(batch)).predict(batch.x))
        self._keep(batch, last)
        oracle.add_evidence(batch, "surrogate/forwards", draws * (self.steps + 1))
        oracle.add_evidence(batch, "surrogate/backwards", draws * self.steps)
        return usable & torch.isfinite(last)

    def _keep(self, batch: ActiveRows, losses: Tensor) -> None:
        better = losses > batch.memory["loss"]
        batch.put(better, "loss", losses)
        batch.put(better, "strongest", batch.x)


class TransferLinf(TransferAttack):
    """Transfer attack under a bound on the largest pixel change."""

    name: ClassVar[str] = "transfer-linf"
    norm: ClassVar[Norm] = LINF


class TransferL2(TransferAttack):
    """Transfer attack under a bound on the Euclidean length of the change."""

    name: ClassVar[str] = "transfer-l2"
    norm: ClassVar[Norm] = L2_NORM
