"""Attention as a robust kernel density estimate, RKDE (Han, Ren, Nguyen, Nguyen, Ghosh, Ho, NeurIPS 2023)."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.base import attention_matrix
from robustbench_wb.models.attention.per_head import PerHeadAttention, token_mean
from robustbench_wb.models.sockets import Context, Place


class RobustKdeAttention(PerHeadAttention):
    """``out_i = sum_j w(k_j, v_j) e_ij v_j / sum_j w(k_j) e_ij`` with ``e_ij = exp(-||q_i - k_j||^2 / sqrt(p))``.

    Keys have length 1. The weights (sum 1) are one KIRWLS step: ``w = psi(h)``, h the distance of a feature to the mean
    feature, ``h^2 = 1 - 2 G u + u^T G u`` with the Gram matrix G of exp(-||.||^2 / sqrt(p)) and u = 1/N. ``huber``:
    min(1, a/h); ``hampel``: the same to 2a, (3a - h)/h beyond, not below 0.01. The reference code has plus signs in
    h^2, which makes outliers the *nearest*; this is the distance. Means are over real tokens; if causal, prefixes.

    Raises:
        UsageError: an unknown ``psi``, or an ``a`` that is not positive.
    """

    def __init__(self, place: Place, psi: str = "huber", a: float = 0.2) -> None:
        super().__init__(place)
        if psi not in ("huber", "hampel") or not a > 0:
            raise UsageError(f"robust-kde has psi huber or hampel, and a > 0; got {psi!r} and {a}")
        self.psi, self.a = psi, a

    def log_weights(self, gram: Tensor, context: Context) -> Tensor:
        """log w of each token (last axis), (B, H, 1, N), or for each query's prefix (B, H, N, N), from G."""
        mask = context.mask(gram.shape[-1], gram.device)
        seen = gram.new_ones(1) if mask is None else mask.to(gram.dtype)
        near = token_mean(gram, context)
        inner = (near * seen).sum(-1, keepdim=True) / seen.expand_as(near).sum(-1, keepdim=True)
        ratio = ((1 - 2 * near + inner) / self.a**2).clamp(min=1).sqrt()  # max(h, a) / a
        weight = 1 / ratio if self.psi == "huber" else (1 / ratio).minimum(3 / ratio - 1).clamp(min=0.01)
        return weight.log() - (weight * seen).sum(-1, keepdim=True).log()

    def mix(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """The outputs of the heads, (B, H, N, p)."""
        k = functional.normalize(k, dim=-1, eps=1e-6)
        of_keys, of_values = _gram(k), _gram(v)
        marginal, joint = self.log_weights(of_keys, context), self.log_weights(of_keys * of_values, context)
        # ||q||^2 and ||k||^2 = 1 cancel between numerator and denominator.
        a = attention_matrix(2 * q, k, context, marginal) * (joint - marginal).exp()
        if context.watch is not None:
            context.watch(a, v)
        return a @ v


def _gram(x: Tensor) -> Tensor:
    """exp(-||x_i - x_j||^2 / sqrt(p)), (B, H, N, N)."""
    square = x.square().sum(-1, keepdim=True)
    return torch.exp((2 * x @ x.mT - square - square.mT).clamp(max=0) / math.sqrt(x.shape[-1]))
