"""Robust kernel density attention, RKDE (Han, Ren, Nguyen, Nguyen, Ghosh, Ho, NeurIPS 2023)."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.base import attend_joined, attention_matrix
from robustbench_wb.models.attention.biased import masked
from robustbench_wb.models.attention.per_head import PerHeadAttention, token_mean
from robustbench_wb.models.attention.row_blocks import is_long, scan_by_rows, sum_by_rows
from robustbench_wb.models.sockets import Context, LayerConfig


class RobustKdeAttention(PerHeadAttention):
    """RKDE ``out_i = sum_j w(k_j, v_j) e_ij v_j / sum_j w(k_j) e_ij``, ``e_ij = exp(-||q_i - k_j||^2 / sqrt(p))``.

    Keys are scaled to length 1. The weights w (sum 1) are one KIRWLS step: ``w = psi(h)``, where h is the distance of a
    feature to the mean feature: ``h^2 = 1 - 2 G u + u^T G u``, with the Gram matrix G of exp(-||.||^2 / sqrt(p)) and u
    = 1/N. ``psi`` is ``huber``, min(1, a/h), or ``hampel``, min(1, a/h) up to 2a and (3a - h)/h beyond, at least 0.01.
    The reference code has plus signs in h^2, which makes outliers the *nearest* features; this class uses the distance.
    Means are over real tokens, and with causal attention over prefixes.

    Raises:
        UsageError: ``psi`` is unknown, or ``a`` is not positive.
    """

    def __init__(self, config: LayerConfig, *, psi: str = "huber", a: float = 0.2) -> None:
        super().__init__(config)
        if psi not in ("huber", "hampel") or not a > 0:
            raise UsageError(f"robust-kde has psi huber or hampel, and a > 0; got {psi!r} and {a}")
        self.psi, self.a = psi, a

    def log_weights(self, near: Tensor, seen: Tensor) -> Tensor:
        """Return log w of each token (last axis): (B, H, 1, N), or (B, H, rows, N) with one row per query's prefix.

        ``near`` is G u, of the same shape; ``seen`` is 1 at tokens that count and 0 at others.
        """
        inner = (near * seen).sum(-1, keepdim=True) / seen.expand_as(near).sum(-1, keepdim=True)
        ratio = ((1 - 2 * near + inner) / self.a**2).clamp(min=1).sqrt()  # max(h, a) / a
        weight = 1 / ratio if self.psi == "huber" else (1 / ratio).minimum(3 / ratio - 1).clamp(min=0.01)
        return weight.log() - (weight * seen).sum(-1, keepdim=True).log()

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape."""
        k = functional.normalize(k, dim=-1, eps=1e-6)
        mask = context.mask(k.shape[-2], k.device)
        seen = k.new_ones(1) if mask is None else mask.to(k.dtype)
        if is_long(k.shape[-2], context):
            if context.causal:
                return self._prefixes(2 * q, k, v, seen=seen)
            return self._sequence(2 * q, k, v, seen=seen, context=context)
        of_keys, of_values = _gram(k), _gram(v)
        marginal = self.log_weights(token_mean(of_keys, context), seen)
        joint = self.log_weights(token_mean(of_keys * of_values, context), seen)
        # ||q||^2 and ||k||^2 = 1 cancel between numerator and denominator.
        a = attention_matrix(2 * q, k, context=context, bias=marginal) * (joint - marginal).exp()
        if context.watch is not None:
            context.watch(a, v)
        return a @ v

    def _sequence(self, q: Tensor, k: Tensor, v: Tensor, *, seen: Tensor, context: Context) -> Tensor:
        """Head outputs without an N x N matrix: a key's weight extends the key by one entry and scales its value."""
        keep = (
            k.new_ones((1, 1, k.shape[-2], 1)) if context.keep is None else context.keep[:, None, :, None].to(k.dtype)
        )
        near = sum_by_rows(_gram_sums, (k, v, keep)) / keep.sum(-2, keepdim=True).clamp(min=1)
        marginal, joint = (self.log_weights(part, seen) for part in near)
        factors = torch.ones_like(k[..., :1]), marginal.mT
        return attend_joined(q, k, v * (joint - marginal).exp().mT, factors=factors, context=context)

    def _prefixes(self, q: Tensor, k: Tensor, v: Tensor, *, seen: Tensor) -> Tensor:
        """Head outputs of causal attention, one block of rows at a time; blocks pass on the running sums."""
        start = k.new_zeros((2, *k.shape[:2], 1, k.shape[-2]))
        return scan_by_rows(self._block, start, (q, k, v, seen))

    def _block(
        self, rows: slice, before: Tensor, q: Tensor, k: Tensor, v: Tensor, seen: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Outputs of some rows, and the sums over all rows so far of both Gram matrices (2, B, H, 1, N)."""
        of_keys, seen = _gram(k, rows), seen[:, :, rows]
        grams = of_keys, of_keys * _gram(v, rows)
        sums = [gram.cumsum(-2) + above for gram, above in zip(grams, before, strict=True)]
        marginal, joint = (self.log_weights(x / seen.sum(-1, keepdim=True), seen) for x in sums)
        logits = masked((q[:, :, rows] / math.sqrt(q.shape[-1])) @ k.mT + marginal, seen > 0)
        mixed = (logits.softmax(-1) * (joint - marginal).exp()) @ v
        return mixed, torch.stack([x[:, :, -1:] for x in sums])


def _gram(x: Tensor, rows: slice = slice(None)) -> Tensor:
    """Gram matrix exp(-||x_i - x_j||^2 / sqrt(p)) of some rows, (B, H, rows, N)."""
    square = x.square().sum(-1, keepdim=True)
    return torch.exp((2 * x[:, :, rows] @ x.mT - square[:, :, rows] - square.mT).clamp(max=0) / math.sqrt(x.shape[-1]))


def _gram_sums(rows: slice, k: Tensor, v: Tensor, keep: Tensor) -> Tensor:
    """Sums over some rows of both Gram matrices, (2, B, H, 1, N); ``keep`` (B, 1, N, 1) is 1 at real tokens."""
    of_keys = _gram(k, rows) * keep[:, :, rows]
    both = of_keys, of_keys * _gram(v, rows)
    return torch.stack([x.sum(-2, keepdim=True) for x in both])
