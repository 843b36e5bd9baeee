"""Cross terms: the part of the attention logits in which the content of one token meets the position of another.

With positions added to the stream, z = e + p, the logit of a query and a key has four terms: content-content,
content-position, position-content and position-position (proposition III.2 of arXiv 2506.10371; Ke, He & Liu 2021,
arXiv 2006.15595, section 3.1). Bilateral attention drops the two in the middle. The terms can be separated in the first
layer alone: later layers see positions only through what attention and feed-forward made of them.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.layers.real_tokens import counts
from robustbench_wb.models.attention.base import split_heads
from robustbench_wb.models.attention.neutreno import NeutrenoAttention
from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.attention.softmax import SoftmaxAttention
from robustbench_wb.models.attention.subspace import SubspaceAttention
from robustbench_wb.models.attention.twicing import TwicingAttention
from robustbench_wb.models.attention.twicing_neutreno import TwicingNeutrenoAttention
from robustbench_wb.models.backbone import TransformerBlock
from robustbench_wb.models.embeddings import CratePatchEmbedding, PatchEmbedding, TokenEmbedding
from robustbench_wb.models.sincos import SincosPatchEmbedding
from robustbench_wb.models.sockets import Context

_SOFTMAX = (SoftmaxAttention, TwicingAttention, NeutrenoAttention, TwicingNeutrenoAttention)
"""Attentions whose matrix is softmax(Q K^T / sqrt(p)), with one linear map ``qkv`` for all three."""
_ADDING = (PatchEmbedding, CratePatchEmbedding, SincosPatchEmbedding, TokenEmbedding)
"""Embeddings whose last step may be to add positions. Types derived from them may take another step."""


class _Parts(NamedTuple):
    """A sum of three: the content of each token, its position, and what all tokens share."""

    content: Tensor
    position: Tensor
    constant: Tensor

    @property
    def total(self) -> Tensor:
        return self.content + self.position + self.constant


class _Maps(NamedTuple):
    """Linear maps to queries and to keys, as (weight, bias), and the number of heads that share their outputs."""

    query: tuple[Tensor, Tensor | None]
    key: tuple[Tensor, Tensor | None]
    heads: int


def cross_terms(embedding: nn.Module, block: TransformerBlock, *, x0: Tensor, context: Context) -> dict[str, Tensor]:
    """Return ``cross_share`` and ``cross_shift`` of the first block, (B,) each, from the embedding output (B, N, d).

    The layer norm divides a token by its deviation s, which is that of the sum: LN(e + p) = e' + p' + b with
    e' = g (e - mean(e)) / s, p' alike, and the gain g and the bias b of the norm. With the maps Q and K of a head to
    queries and keys of length m, their biases included where a constant is mapped, the logits are

    - all terms: l_ij = <Q(e'_i + p'_i + b), K(e'_j + p'_j + b)> / sqrt(m)
    - cross terms: x_ij = (<Q e'_i, K p'_j> + <Q p'_i, K e'_j>) / sqrt(m)
    - content alone: c_ij is l_ij with p' = 0; positions alone: q_ij is l_ij with e' = 0

    ``cross_share`` is |x|^2 / (|x|^2 + |c|^2 + |q|^2), 0 to 1. Squares are summed over heads, real queries and the keys
    that each of them may attend to; the mean of each row is subtracted before, because softmax ignores it. NaN if all
    three are zero, as for a single token.

    ``cross_shift`` is 1/2 sum_j |softmax(l)_ij - softmax(l - x)_ij|, the total variation between attention with and
    without cross terms, 0 to 1, mean over heads and real queries. It is half of the l1 norm of the perturbation that
    theorem III.2 of arXiv 2506.10371 bounds in l2 by order sqrt(N).

    Returns:
        Both measures; nothing if positions are not added to the stream last, or attention is not softmax of queries and
        keys that are linear in a layer norm.
    """
    positions, maps = _added_positions(embedding, x0.shape[1]), _query_and_key(block.attention)
    if positions is None or maps is None or block.post or type(block.norm) is not nn.LayerNorm:
        return {}
    parts = _normed(block.norm, _entering(block, x0), _entering(block, positions.expand_as(x0)))
    queries, keys = (_mapped(parts, one, maps.heads) for one in (maps.query, maps.key))
    mask = context.mask(x0.shape[1], x0.device)
    keep = torch.ones_like(x0[..., 0], dtype=torch.bool) if context.keep is None else context.keep
    energies, moved = x0.new_zeros(3, len(x0)), x0.new_zeros(len(x0))
    for head in range(maps.heads):  # one head at a time: its terms are matrices of N x N
        q, k = (_Parts._make(part[:, head] for part in one) for one in (queries, keys))
        logits = _products(q.total, k.total)
        cross = _products(q.content, k.position) + _products(q.position, k.content)
        content = _products(q.content + q.constant, k.content + k.constant)
        position = _products(q.position + q.constant, k.position + k.constant)
        allowed = torch.ones_like(cross, dtype=torch.bool) if mask is None else mask[:, 0].expand_as(cross)
        energies += torch.stack([_centred_energy(term, allowed, keep) for term in (cross, content, position)])
        moved += _total_variation(logits, logits - cross, allowed=allowed, keep=keep)
    total = energies.sum(dim=0)
    share = torch.where(total == 0, torch.nan, energies[0] / total)
    return {"cross_share": share, "cross_shift": moved / (maps.heads * counts(x0, context.keep))}


def _added_positions(embedding: nn.Module, tokens: int) -> Tensor | None:
    """Positions (N, d) that an embedding adds as its last step; None if it adds none, or takes another step."""
    if type(embedding) not in _ADDING or not isinstance(embedding, PatchEmbedding | TokenEmbedding):
        return None
    if isinstance(embedding, TokenEmbedding) and embedding.norm is not None:
        return None
    table = embedding.positions.table
    return table[:tokens] if table is not None and embedding.positions.position == "added" else None


def _query_and_key(attention: nn.Module) -> _Maps | None:
    """Maps of an attention whose matrix is the softmax of the products of queries and keys; None for any other."""
    if type(attention) is SubspaceAttention:
        own = (attention.subspaces.weight, None)
        return _Maps(own, own, attention.heads)
    if type(attention) in _SOFTMAX and isinstance(attention, PerHeadAttention):
        weights, biases = attention.qkv.weight.chunk(3), attention.qkv.bias.chunk(3)
        return _Maps((weights[0], biases[0]), (weights[1], biases[1]), attention.heads)
    return None


def _entering(block: TransformerBlock, tokens: Tensor) -> Tensor:
    """What the residual rule of the first block hands to the norm, a linear function of the embedding output."""
    entered: list[Tensor] = []

    def sublayer(x: Tensor) -> Tensor:
        entered.append(x)
        return torch.zeros_like(x)

    block.residual(tokens, tokens, sublayer)
    return entered[0]


def _normed(norm: nn.LayerNorm, whole: Tensor, position: Tensor) -> _Parts:
    """Parts of LN(whole), of which ``position`` (B, N, d) is the part before the norm."""
    deviation = (whole.var(dim=-1, unbiased=False, keepdim=True) + norm.eps).sqrt()

    def part(x: Tensor) -> Tensor:
        scaled: Tensor = norm.weight * (x - x.mean(dim=-1, keepdim=True)) / deviation
        return scaled

    return _Parts(part(whole - position), part(position), norm.bias.expand_as(whole))


def _mapped(parts: _Parts, own: tuple[Tensor, Tensor | None], heads: int) -> _Parts:
    """Queries or keys of each part, (B, H, N, m); the bias of the map is part of the constant."""
    weight, bias = own
    maps = (functional.linear(part, weight) for part in parts[:2])
    return _Parts._make(split_heads(one, heads) for one in (*maps, functional.linear(parts.constant, weight, bias)))


def _products(queries: Tensor, keys: Tensor) -> Tensor:
    """Scaled inner products (B, N, N) of queries and keys (B, N, m)."""
    found: Tensor = queries @ keys.mT / queries.shape[-1] ** 0.5
    return found


def _centred_energy(term: Tensor, allowed: Tensor, keep: Tensor) -> Tensor:
    """Sum of squares, (B,), of the entries of a term (B, N, N) less the mean of their row, over real queries."""
    mean = term.masked_fill(~allowed, 0.0).sum(dim=-1, keepdim=True) / allowed.sum(dim=-1, keepdim=True).clamp(min=1)
    rows = (term - mean).masked_fill(~allowed, 0.0).square().sum(dim=-1)
    return rows.masked_fill(~keep, 0.0).sum(dim=-1)


def _total_variation(one: Tensor, other: Tensor, *, allowed: Tensor, keep: Tensor) -> Tensor:
    """Sum over real queries, (B,), of the total variation between the softmax of two sets of logits (B, N, N)."""
    first, second = (torch.softmax(logits.masked_fill(~allowed, -torch.inf), dim=-1) for logits in (one, other))
    return 0.5 * (first - second).abs().sum(dim=-1).masked_fill(~keep, 0.0).sum(dim=-1)
