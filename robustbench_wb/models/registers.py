"""Patch embedding with register tokens (Darcet, Oquab, Mairal, Bojanowski 2024, arXiv 2309.16588)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.embeddings import PatchEmbedding
from robustbench_wb.models.shape import ImageShape, PositionMode
from robustbench_wb.models.sockets import Context


class RegisterPatchEmbedding(PatchEmbedding):
    """Patch embedding ``[cls; registers; patches W + b]``: learned tokens without a position, which no head reads.

    Registers are initialised from N(0, 0.02), like the class token. Positions are added to the class token and the
    patches only.

    Raises:
        UsageError: ``registers`` is negative.
    """

    def __init__(
        self, shape: ImageShape, *, width: int, norm_eps: float, position: PositionMode, registers: int = 4
    ) -> None:
        super().__init__(shape, width=width, norm_eps=norm_eps, position=position)
        if registers < 0:
            raise UsageError(f"registers must be 0 or more, not {registers}")
        self.registers = nn.Parameter(torch.empty(1, registers, width).normal_(std=self.start_std))
        self.coordinates = functional.pad(self.coordinates, (0, 0, registers, 0))

    def join(self, patches: Tensor) -> tuple[Tensor, Context]:
        """Put class token and registers before projected patches (B, N, d); return tokens (B, 1 + registers + N, d)."""
        tokens, context = super().join(patches)
        extra = self.registers.shape[1]
        context.prefix_tokens += extra
        if context.positions is not None:
            context.positions = functional.pad(context.positions, (0, 0, extra, 0))
        return torch.cat([tokens[:, :1], self.registers.expand(len(tokens), -1, -1), tokens[:, 1:]], dim=1), context
