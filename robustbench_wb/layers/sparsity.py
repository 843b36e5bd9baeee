"""Sparsity: share of the entries of a code that are not zero."""

from torch import Tensor

from robustbench_wb.layers.real_tokens import counts, real


def nonzero_fraction(code: Tensor, keep: Tensor | None) -> Tensor:
    """Return the share of entries of the real tokens of ``code`` (B, N, m) that are not exactly 0: (B,), 0 to 1.

    A ReLU produces exact zeros. Measure in float32, because half precision adds false zeros by underflow.
    """
    nonzero = (real(code, keep) != 0).sum(dim=(-2, -1))
    return nonzero.to(code.dtype) / (counts(code, keep) * code.shape[-1])
