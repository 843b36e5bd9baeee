"""Access of a stressor to the evaluated model."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from robustbench_wb.models.batching import Rows, batches
from robustbench_wb.progress import Advance


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelAccess:
    """The evaluated model, how it is queried, and the receiver of a stressor's progress."""

    model: nn.Module
    """Model in eval mode with frozen parameters, from inputs to logits (B, classes)."""
    batch_size: int
    """Largest number of samples in one forward pass. Cannot change a result, only its speed."""
    draws: int = 1
    """Forward passes whose mean is one output; more than 1 for a randomised model."""
    surrogate: nn.Module | None = None
    """Surrogate model of a transfer attack, in eval mode and frozen; None for all other stressors."""
    advance: Advance = field(default=lambda count: None)
    """Function called with the number of samples that are finished."""

    def silent(self) -> "ModelAccess":
        """Access to the model without progress reports."""
        return replace(self, advance=lambda count: None)

    def predict(self, inputs: Tensor) -> Tensor:
        """Logits (N, classes) in float32, in the order of the inputs: means over ``draws`` forward passes."""
        return self.batched_logits(
            lambda rows, part: torch.stack([self.model(part).float() for _ in range(self.draws)]).mean(0), inputs
        )

    @torch.no_grad()
    def batched_logits(self, ask: Callable[[Rows, Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Logits (N, classes) in float32, in the order of the inputs, from any function of rows and their inputs.

        ``ask`` takes the row numbers of one batch and the inputs at these rows, and returns their logits.
        """
        found = [(rows, ask(rows, part).float()) for rows, part in batches(inputs, self.batch_size)]
        logits = torch.cat([part for _, part in found])
        order = [rows for rows, _ in found if isinstance(rows, Tensor)]
        return logits if not order else logits[torch.argsort(torch.cat(order))]


def predict(model: nn.Module, inputs: Tensor, batch_size: int) -> Tensor:
    """Logits (N, classes) of one forward pass per sample, in float32 and in the order of the inputs."""
    return ModelAccess(model=model, batch_size=batch_size).predict(inputs)
