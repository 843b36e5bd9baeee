"""Sparsity: how many entries of a code are not zero."""

from torch import Tensor

from robustbench_wb.layers.tokens import counts, real


def nonzero_fraction(code: Tensor, keep: Tensor | None) -> Tensor:
    """Share of entries of the real tokens of ``code`` (B, N, m) that are not exactly 0, (B,), 0 to 1.

    Exact zeros: those that a ReLU makes. Half precision adds false ones by underflow; measure in float32.
    """
    nonzero = (real(code, keep) != 0).sum(dim=(-2, -1))
    return nonzero.to(code.dtype) / (counts(code, keep) * code.shape[-1])
