"""Median-of-means attention, MoM (Han, Ren, Nguyen, Nguyen, Ghosh, Ho, NeurIPS 2023)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.base import attend
from robustbench_wb.models.attention.biased import RowBias, by_rows
from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.attention.row_blocks import is_long
from robustbench_wb.models.sockets import Context, LayerConfig
from robustbench_wb.rng import words


class MedianOfMeansAttention(PerHeadAttention):
    """Attention over one of ``subsets`` random key subsets: the one whose summed log-likelihood is the median.

    Keys are scaled to length 1. Attention weights are exp(-||q - k||^2 / sqrt(p)) over floor(share N) of N keys; every
    token also attends to itself. As in the authors' code, the log-likelihood is a sum over queries and keys of the log
    of one kernel. Here it is per sample and head; the code sums over the batch, so that an output would depend on the
    other samples. Subsets are a fixed function of layer, subset and token index, not random draws. With causal
    attention each query uses the subsets and the likelihood of its own prefix.

    Raises:
        UsageError: ``subsets`` is below 1, or ``share`` is outside (0, 1].
    """

    def __init__(self, config: LayerConfig, *, subsets: int = 5, share: float = 0.95) -> None:
        super().__init__(config)
        if subsets < 1 or not 0 < share <= 1:
            raise UsageError(f"median-of-means needs subsets >= 1 and 0 < share <= 1; got {subsets} and {share}")
        self.layer, self.subsets, self.share = config.layer, subsets, share

    def members(self, tokens: int, device: torch.device, rows: slice = slice(None)) -> Tensor:
        """Return bool (S, rows, N): whether token j (last axis) is in subset s of the first i + 1 tokens.

        A subset holds the tokens of lowest random rank.
        """
        lots = words(torch.arange(self.subsets), tokens, seed=0, label="median-of-means", step=self.layer).to(device)
        start, stop, _ = rows.indices(tokens)
        lower = (lots[:, rows, None] < lots[:, None, :]).cumsum(1, dtype=torch.int32)
        if start:  # count the tokens before these rows
            lower += torch.searchsorted(lots[:, :start].sort(-1).values, lots, out_int32=True)[:, None]
        size = (torch.arange(start + 1, stop + 1, dtype=torch.float64) * self.share + 1e-9).floor().clamp(min=1)
        return (lower < size.to(device)[:, None]).tril(start)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape."""
        n = k.shape[-2]
        k, q = functional.normalize(k, dim=-1, eps=1e-6), 2 * q  # -||q - k||^2 without the terms that cancel
        with torch.no_grad():
            rule = self._prefixes(q, k) if context.causal else self._sequence(q, k, context)
            bias = RowBias(rule) if by_rows(n, k.device, context) else rule(slice(0, n))
        return attend(q, k, v, context=context, bias=bias)

    def _sequence(self, q: Tensor, k: Tensor, context: Context) -> Callable[[slice], Tensor]:
        """Rule for rows of the bias (B, H, rows, N) with one subset for all queries of a sample."""
        n = k.shape[-2]
        keep = k.new_ones(1, n) if context.keep is None else context.keep.to(k.dtype)
        last = keep.sum(-1).long() - 1
        if is_long(n, context):  # one row at a time: (S, N, N) is as large as the attention matrix
            table = torch.cat([self.members(n, k.device, slice(i, i + 1)) for i in last.clamp(min=0).tolist()], dim=1)
        else:
            table = self.members(n, k.device)[:, last]
        table = table.transpose(0, 1)[:, :, None]  # (B, S, 1, N)
        seen = _median(table, (q * keep[:, None, :, None]).sum(-2, keepdim=True), k)
        own = torch.arange(n, device=k.device)
        return lambda rows: _bias(seen | (own[rows, None] == own), k.dtype)

    def _prefixes(self, q: Tensor, k: Tensor) -> Callable[[slice], Tensor]:
        """Rule for rows of the bias (B, H, rows, N) with a subset of its prefix for each query (causal attention)."""
        n = k.shape[-2]
        asked, k, own = q.detach().cumsum(-2), k.detach(), torch.arange(k.shape[-2], device=k.device)

        def rule(rows: slice) -> Tensor:
            seen = _median(self.members(n, k.device, rows)[None], asked[:, :, rows], k)
            return _bias(seen | (own[rows, None] == own), k.dtype)

        return rule


def _median(member: Tensor, asked: Tensor, k: Tensor) -> Tensor:
    """Return bool (B, H, rows, N): the subset with median likelihood for the queries summed in ``asked``."""
    likely = torch.einsum("bhij,bsij->bhis", asked @ k.mT, member.to(k.dtype).expand(len(k), -1, -1, -1))
    chosen = likely.argsort(stable=True, dim=-1)[..., member.shape[1] // 2, None, None]  # (B, H, rows, 1, 1)
    table = member.movedim(1, 2)[:, None].expand((*likely.shape, k.shape[-2]))
    return table.take_along_dim(chosen, -2).squeeze(-2)


def _bias(seen: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, -torch.inf)
