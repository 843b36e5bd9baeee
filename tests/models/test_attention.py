"""Each attention against its formula written out with loops, in float64."""

import math

import pytest
import torch
from torch import Tensor

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.base import attend, merge_heads, split_heads
from robustbench_wb.models.attention.bilateral import BilateralAttention
from robustbench_wb.models.attention.softmax import SoftmaxAttention
from robustbench_wb.models.attention.subspace import SubspaceAttention
from robustbench_wb.models.sockets import Context, LayerConfig
from tests.known import known, parts

PLACE = LayerConfig(layer=0, depth=1, width=6, heads=2, dim_head=4, norm_eps=1e-6)
N, D, H, P = 5, 6, 2, 4


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def table() -> Tensor:
    p = randn(N, D, seed=9)
    p[0] = 0.0
    return p


def naive(q: Tensor, k: Tensor, v: Tensor, logit: Tensor) -> Tensor:
    """One image, all heads: q, k, v (N, H p), extra logits (H, N, N); softmax by hand."""
    out = torch.zeros(N, H * P, dtype=torch.float64)
    for h in range(H):
        s = slice(h * P, (h + 1) * P)
        for i in range(N):
            row = [math.exp((q[i, s] @ k[j, s] / math.sqrt(P) + logit[h, i, j]).item()) for j in range(N)]
            for j in range(N):
                out[i, s] += row[j] / sum(row) * v[j, s]
    return out


def position_logit(p: Tensor, wq: Tensor, wk: Tensor) -> Tensor:
    logit = torch.zeros(H, N, N, dtype=torch.float64)
    for h in range(H):
        s = slice(h * P, (h + 1) * P)
        for i in range(1, N):
            for j in range(1, N):
                logit[h, i, j] = (wq[s] @ p[i]) @ (wk[s] @ p[j]) / math.sqrt(P)
    return logit


@torch.no_grad()
def test_softmax_is_its_formula() -> None:
    attention = SoftmaxAttention(PLACE).double()
    x = randn(3, N, D)
    got = attention(x, Context())
    for image in range(3):
        q, k, v = (x[image] @ attention.qkv.weight.T + attention.qkv.bias).chunk(3, dim=-1)
        want = naive(q, k, v, logit=torch.zeros(H, N, N)) @ parts(attention).out.weight.T + parts(attention).out.bias
        assert (got[image] - want).abs().max() < 1e-10


@torch.no_grad()
def test_subspace_is_its_formula() -> None:
    attention = SubspaceAttention(PLACE).double()
    x = randn(3, N, D)
    got = attention(x, Context())
    for image in range(3):
        w = x[image] @ attention.subspaces.weight.T
        want = naive(w, w, w, logit=torch.zeros(H, N, N)) @ parts(attention).out.weight.T + parts(attention).out.bias
        assert (got[image] - want).abs().max() < 1e-10


@torch.no_grad()
@pytest.mark.parametrize("kernel", ["tied", "untied"])
def test_bilateral_is_its_formula_without_cross_terms(kernel: str) -> None:
    attention = BilateralAttention(PLACE, kernel=kernel).double()
    x, p = randn(3, N, D), table()
    wq, wk = (known(attention.qkv if kernel == "tied" else attention.position_qk)).weight[: 2 * H * P].chunk(2)
    got = attention(x, Context(positions=p))
    for image in range(3):
        q, k, v = (x[image] @ attention.qkv.weight.T + attention.qkv.bias).chunk(3, dim=-1)
        want = (
            naive(q, k, v, logit=position_logit(p, wq, wk)) @ parts(attention).out.weight.T + parts(attention).out.bias
        )
        assert (got[image] - want).abs().max() < 1e-10
    crossed = SoftmaxAttention(PLACE).double()
    crossed.load_state_dict(attention.state_dict(), strict=False)
    assert (got - crossed(x + p, Context())).abs().max() > 1e-3  # the added table does have the cross terms


@torch.no_grad()
def test_bilateral_ignores_where_cls_is_and_shares_its_logits_over_the_batch() -> None:
    attention = BilateralAttention(PLACE).double()
    logits = attention.position_logits(Context(positions=table()))
    assert logits.shape == (1, H, N, N)
    assert (logits[..., 0, :] == 0).all()
    assert (logits[..., 0] == 0).all()
    assert (logits[..., 1:, 1:] != 0).all()


@torch.no_grad()
def test_bilateral_without_positions_is_softmax_attention() -> None:
    attention, plain = BilateralAttention(PLACE).double(), SoftmaxAttention(PLACE).double()
    plain.load_state_dict(attention.state_dict())
    x = randn(2, N, D)
    zeros = torch.zeros(N, D, dtype=torch.float64)
    assert torch.allclose(attention(x, Context(positions=zeros)), plain(x, Context()), rtol=0, atol=1e-14)
    with pytest.raises(UsageError, match="separate"):
        attention(x, Context())
    with pytest.raises(UsageError, match="gausian"):
        BilateralAttention(PLACE, kernel="gausian")


@torch.no_grad()
@pytest.mark.parametrize("with_bias", [False, True])
def test_mask_hides_keys_with_and_without_a_bias(with_bias: bool) -> None:
    q, k, v = (randn(2, H, N, P, seed=s) for s in range(3))
    bias = randn(1, H, N, N, seed=4) if with_bias else None
    causal = torch.ones(N, N, dtype=torch.bool).tril()[None, None]
    got = attend(q, k, v, context=Context(causal=True), bias=bias)
    logits = q @ k.transpose(-1, -2) / math.sqrt(P) + (0 if bias is None else bias)
    want = logits.masked_fill(~causal, -math.inf).softmax(dim=-1) @ v
    assert (got - want).abs().max() < 1e-12
    keep = torch.tensor([[True] * N, [True] * 3 + [False] * 2])
    got = attend(q, k, v, context=Context(keep=keep), bias=bias)
    want = logits.masked_fill(~keep[:, None, None, :], -math.inf).softmax(dim=-1) @ v
    assert (got - want).abs().max() < 1e-12


def test_heads_split_slow_and_merge_back() -> None:
    x = torch.arange(2 * 3 * 8).view(2, 3, 8)
    assert split_heads(x, 2)[1, 1, 2].tolist() == x[1, 2, 4:].tolist()
    assert torch.equal(merge_heads(split_heads(x, 2)), x)
