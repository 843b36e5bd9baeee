"""PGD through a part of the model that has no useful gradient (BPDA; Athalye, Carlini & Wagner 2018, section 4.1).

The user names the part, such as a quantiser in front of a network. The forward pass is the model's own, so that every
error that is found is an error of the model. Only the backward pass of the part is replaced: by the identity, or by the
derivative of another part that computes nearly the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from robustbench_wb.errors import MeasurementError, cut_text
from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.stressors.attacks.pgd import Pgd
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch


class _Replaced(torch.autograd.Function):
    """A tensor that was computed from another one, with a backward pass of its own."""

    @staticmethod
    def forward(context: Any, given: Tensor, output: Tensor, other: nn.Module | None) -> Tensor:
        context.save_for_backward(given)
        context.other = other
        return output.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        if context.other is None:
            return gradient, None, None
        (given,) = context.saved_tensors
        with torch.enable_grad():
            inputs = given.detach().requires_grad_(True)
            (found,) = torch.autograd.grad(context.other(inputs), inputs, gradient)
        return found, None, None


class Bpda(Pgd):
    """PGD with the backward pass of one part of the model replaced."""

    module: str = Field(min_length=1)
    """Name of the part in ``model.named_modules()``, like ``preprocess`` or ``stem.quantise``. It maps one tensor to
    another."""
    derivative: str | None = None
    """Name of a part of the model whose derivative is used. None: the identity, for which the part must keep the shape
    of its input."""

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Search for an adversarial example of every sample in the batch.

        Raises:
            MeasurementError: the model has no such part, or the part changes the shape of its input.
        """
        with self._replaced(access.model):
            return super().apply(batch, access)

    def sweep(self, batch: SampleBatch, access: ModelAccess, rungs: Sequence[Self]) -> list[PerturbedBatch]:
        """Search at every radius of an ascending ladder at once.

        Raises:
            MeasurementError: see ``apply``.
        """
        with self._replaced(access.model):
            return super().sweep(batch, access, rungs)

    @contextmanager
    def _replaced(self, model: nn.Module) -> Iterator[None]:
        part = self._part(model, self.module)
        other = None if self.derivative is None else self._part(model, self.derivative)

        def replace(_: nn.Module, given: tuple[object, ...], output: object) -> Tensor:
            inputs = given[0] if len(given) == 1 else None
            if not isinstance(inputs, Tensor) or not isinstance(output, Tensor):
                raise MeasurementError(f"{self.label}: module={self.module} does not map one tensor to one tensor")
            if other is None and inputs.shape != output.shape:
                shapes = f"from {tuple(inputs.shape)} to {tuple(output.shape)}"
                raise MeasurementError(
                    f"{self.label}: module={self.module} changes the shape, {shapes}; name a derivative"
                )
            replaced: Tensor = _Replaced.apply(inputs, output, other)  # type: ignore[no-untyped-call]
            return replaced

        hook = part.register_forward_hook(replace)
        try:
            yield
        finally:
            hook.remove()

    def _part(self, model: nn.Module, name: str) -> nn.Module:
        """The part of a model with a name. Wrappers, which hold the model alone, are left out of the name."""
        parts: dict[str, nn.Module] = dict(model.named_modules())
        while name not in parts:
            children = list(parts[""].children())
            if len(children) != 1:
                known = ", ".join(part for part in parts if part and part.count(".") < 2)
                raise MeasurementError(f"{self.label}: the model has no part {name!r}; it has {cut_text(known)}")
            parts = dict(children[0].named_modules())
        return parts[name]


class BpdaLinf(Bpda):
    """BPDA under a bound on the largest pixel change."""

    name: ClassVar[str] = "bpda-linf"
    norm: ClassVar[Norm] = LINF


class BpdaL2(Bpda):
    """BPDA under a bound on the Euclidean length."""

    name: ClassVar[str] = "bpda-l2"
    norm: ClassVar[Norm] = L2_NORM
