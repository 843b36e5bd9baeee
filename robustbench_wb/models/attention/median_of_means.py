"""Median-of-means attention, MoM (Han, Ren, Nguyen, Nguyen, Ghosh, Ho, NeurIPS 2023)."""

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.base import attend
from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.sockets import Context, Place
from robustbench_wb.rng import words


class MedianOfMeansAttention(PerHeadAttention):
    """Attention over the one of ``subsets`` random key subsets whose summed log-likelihood is the median.

    Keys have length 1; attention is exp(-||q - k||^2 / sqrt(p)) over floor(share N) of N keys, and each token always
    sees itself. The log-likelihood is the code's, a sum over queries and keys of the log of one kernel, but per sample
    and head: the code sums over the batch, so that an image would depend on its neighbours. Subsets are counted, not
    drawn: a function of layer, subset and token index. In the causal case each query has the subsets and the
    likelihood of its own prefix.

    Raises:
        UsageError: no subset, or a share outside (0, 1].
    """

    def __init__(self, place: Place, subsets: int = 5, share: float = 0.95) -> None:
        super().__init__(place)
        if subsets < 1 or not 0 < share <= 1:
            raise UsageError(f"median-of-means needs subsets >= 1 and 0 < share <= 1; got {subsets} and {share}")
        self.layer, self.subsets, self.share = place.layer, subsets, share

    def members(self, tokens: int, device: torch.device) -> Tensor:
        """bool (S, N, N): whether token j (last) is in subset s of the first i + 1 tokens: those of lowest rank."""
        lots = words(torch.arange(self.subsets), tokens, 0, "median-of-means", self.layer).to(device)
        rank = (lots[:, :, None] < lots[:, None, :]).cumsum(1, dtype=torch.int32)
        size = (torch.arange(1, tokens + 1, dtype=torch.float64) * self.share + 1e-9).floor().clamp(min=1)
        return (rank < size.to(device)[:, None]).tril()

    def mix(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """The outputs of the heads, (B, H, N, p)."""
        b, _, n, _ = k.shape
        k, q = functional.normalize(k, dim=-1, eps=1e-6), 2 * q  # what is left of -||q - k||^2
        with torch.no_grad():
            member = self.members(n, k.device)
            if context.causal:
                member, asked = member[None], q.cumsum(-2)
            else:
                keep = k.new_ones(1, n) if context.keep is None else context.keep.to(k.dtype)
                member = member[:, keep.sum(-1).long() - 1].transpose(0, 1)[:, :, None]  # (B, S, 1, N)
                asked = (q * keep[:, None, :, None]).sum(-2, keepdim=True)
            likely = torch.einsum("bhij,bsij->bhis", asked @ k.mT, member.to(k.dtype).expand(b, -1, -1, -1))
            chosen = likely.argsort(stable=True, dim=-1)[..., self.subsets // 2, None, None]  # (B, H, 1 or N, 1, 1)
            table = member.movedim(1, 2)[:, None].expand(*likely.shape, n)
            seen = table.take_along_dim(chosen, -2).squeeze(-2) | torch.eye(n, dtype=torch.bool, device=k.device)
            bias = torch.zeros_like(seen, dtype=k.dtype).masked_fill(~seen, -torch.inf)
        return attend(q, k, v, context, bias)
