"""Attentions from the literature: each against its formula in plain loops, and what sets it apart."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from robustbench_wb.errors import MeasurementError, UsageError
from robustbench_wb.models.attention import row_blocks
from robustbench_wb.models.attention.carried_residual import CarriedResidualAttention
from robustbench_wb.models.attention.cosine import CosineAttention
from robustbench_wb.models.attention.differential import DifferentialAttention
from robustbench_wb.models.attention.doubly_stochastic import DoublyStochasticAttention
from robustbench_wb.models.attention.linear import LinearAttention
from robustbench_wb.models.attention.sigmoid import SigmoidAttention
from robustbench_wb.models.attention.softmax import SoftmaxAttention
from robustbench_wb.models.attention.token_statistics import TokenStatisticsAttention
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import ATTENTIONS, VARIANTS
from robustbench_wb.models.providers.library import load_library
from robustbench_wb.models.shape import TextShape
from robustbench_wb.models.sockets import Attention, Context, LayerConfig
from tests.known import NOT_CAUSAL, parts
from tests.models.attention_loops import LOOPS, Memory
from tests.models.robust_loops import D, P

B, N, H, LAYERS = 2, 6, 2, 3
LENGTHS = (6, 4)
CASES = [(name, padded, causal) for name in LOOPS for padded in (False, True) for causal in (False, True)]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def place(layer: int = 0) -> LayerConfig:
    return LayerConfig(layer=layer, depth=LAYERS, width=D, heads=H, dim_head=P, norm_eps=1e-6)


def attention(name: str, layer: int = 0) -> Any:
    """The mechanism of a variant, with parameters large enough to matter."""
    variant = VARIANTS.get(name)
    made = ATTENTIONS.get(variant.attention)(place(layer), **variant.attention_options).double()
    with torch.no_grad():
        for index, parameter in enumerate(made.parameters()):
            parameter.copy_(randn(*parameter.shape, seed=100 * layer + index) * 0.6)
    return made


def heads(seed: int) -> Tensor:
    return randn(B, H, N, P, seed=seed)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "padded", "causal"), [case for case in CASES if not (case[0] in NOT_CAUSAL and case[2])]
)
def test_three_layers_are_the_formula_in_loops(name: str, padded: bool, causal: bool) -> None:
    keep = torch.arange(N) < torch.tensor(LENGTHS)[:, None]
    context = Context(keep=keep if padded else None, causal=causal)
    memories: list[Memory] = [{} for _ in range(B)]
    x = randn(B, N, D, seed=1)
    for index in range(LAYERS):
        layer = attention(name, index)
        normed = torch.nn.functional.layer_norm(x, (D,))  # as in a block
        got = layer(normed, context)
        project = layer.subspaces if name == "tost" else layer.qkv
        for sample in range(B):
            n = LENGTHS[sample] if padded else N
            split = project(normed[sample, :n]).split(H * P, dim=-1)
            own = [[part[:, h * P : (h + 1) * P] for part in split] for h in range(H)]
            want = layer.out(torch.cat(LOOPS[name](layer, own, memories[sample], causal), dim=-1))
            assert (got[sample, :n] - want).abs().max() < 1e-10
        x = x + got


@pytest.mark.parametrize("name", LOOPS)
def test_gradients_with_padding_are_those_of_finite_differences(name: str) -> None:
    layers, x = [attention(name, index) for index in range(2)], randn(B, 5, D, seed=1).requires_grad_()
    keep = torch.arange(5) < torch.tensor((5, 3))[:, None]
    for causal in (False,) if name in NOT_CAUSAL else (False, True):

        def real(x: Tensor, causal: bool = causal) -> Tensor:
            context = Context(keep=keep, causal=causal)
            for layer in layers:
                x = x + layer(x, context)
            return x[keep]

        assert torch.autograd.gradcheck(real, (x,))


@pytest.mark.parametrize("what", ["equal tokens", "zero maps", "one token", "far apart"])
@pytest.mark.parametrize("name", LOOPS)
def test_extreme_tokens_give_finite_answers_and_gradients(name: str, what: str) -> None:
    layer, x = attention(name).float(), randn(B, 1 if what == "one token" else N, D).float()
    if what == "equal tokens":
        x = x[:, :1].expand(-1, N, -1).clone()
    elif what == "far apart":  # logits of a thousand and more
        x = 100 * x
    elif what == "zero maps":
        (project := layer.subspaces if name == "tost" else layer.qkv).weight.data.zero_()
        if project.bias is not None:
            project.bias.data.zero_()
    out = layer(x.requires_grad_(), Context())
    out.sum().backward()
    assert out.isfinite().all()
    assert all(t.grad is not None and t.grad.isfinite().all() for t in [x, *layer.parameters()])


@torch.no_grad()
@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("name", LOOPS)
def test_half_precision_is_close(name: str, long: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if long:
        monkeypatch.setattr(row_blocks, "LONG", 1)
    monkeypatch.setattr(row_blocks, "ROWS", 1)  # sums over rows are added up one by one
    layer, x = attention(name).float(), randn(1, 256, D, seed=1).float()
    want = layer(x, Context())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(x, Context())
    half = layer.bfloat16()(x.bfloat16(), Context())
    assert half.dtype == torch.bfloat16
    for got in (mixed, half):
        assert (got.float() - want).norm() < 0.03 * want.norm()


# --- What sets each apart. ---


@torch.no_grad()
def test_a_carried_residual_is_the_iteration_of_bregman_where_values_stay() -> None:
    """With one linear filter A and values V_0 in all layers, layer l is A (V_0 + all earlier residuals)."""
    layer, q, k, v = CarriedResidualAttention(place()), heads(0), heads(1), heads(2)
    a, context, residual = torch.softmax(q @ k.mT / 2, dim=-1), Context(), torch.zeros_like(v)
    for _ in range(4):
        want = a @ (v + residual)
        residual = residual + v - want
        assert (layer.mix(q, k, v, context=context) - want).abs().max() < 1e-12


@torch.no_grad()
def test_differential_attention_starts_at_the_published_strengths_and_cancels_what_both_maps_share() -> None:
    for index, start in enumerate((0.2, 0.8 - 0.6 * math.exp(-0.3), 0.8 - 0.6 * math.exp(-0.6))):
        layer = DifferentialAttention(place(index))
        layer.left.zero_()
        assert layer.strength().item() == pytest.approx(start)
    layer = DifferentialAttention(place()).double()
    layer.left.zero_()
    layer.start = 1.0 - 1e-12  # lam = 1: equal maps leave nothing
    q, k = heads(0)[..., :2].repeat(1, 1, 1, 2), heads(1)[..., :2].repeat(1, 1, 1, 2)
    told: list[Tensor] = []
    layer.mix(q, k, heads(2), context=Context(watch=lambda a, v: told.append(a)))
    assert told[0].abs().max() < 1e-11
    with pytest.raises(UsageError, match="even sizes, not 3"):
        DifferentialAttention(LayerConfig(layer=0, depth=1, width=6, heads=2, dim_head=3, norm_eps=1e-6))


@torch.no_grad()
def test_differential_attention_is_that_of_timm() -> None:
    width = H * P
    mine = DifferentialAttention(LayerConfig(layer=2, depth=3, width=width, heads=H, dim_head=P, norm_eps=1e-6))
    other = load_library("timm", "timm").layers.DiffAttention(width, num_heads=H, qkv_bias=True, depth=2)
    state = {**mine.state_dict()}
    (q1, q2), (k1, k2) = state.pop("left"), state.pop("right")
    vectors = {"lambda_q1": q1, "lambda_q2": q2, "lambda_k1": k1, "lambda_k2": k2}
    renamed = {name.replace("out.", "proj.").replace("gain", "sub_norm.weight"): value for name, value in state.items()}
    other.load_state_dict({**renamed, **vectors})
    x = randn(B, N, width).float()
    assert (mine(x, Context()) - other(x)).abs().max() < 1e-5


@torch.no_grad()
def test_sinkhorn_comes_to_rows_and_columns_of_one_and_starts_from_softmax() -> None:
    q, k, v = heads(0), heads(1), heads(2)
    once = DoublyStochasticAttention(place(), iterations=1).mix(q, k, v, context=Context())
    assert (once - torch.softmax(q @ k.mT / 2, dim=-1) @ v).abs().max() < 1e-12
    keep = torch.arange(N) < torch.tensor(LENGTHS)[:, None]
    told: list[Tensor] = []
    context = Context(keep=keep, watch=lambda a, v: told.append(a))
    DoublyStochasticAttention(place(), iterations=401).mix(q, k, v, context=context)
    for sample, n in enumerate(LENGTHS):
        matrix = told[0][sample, :, :n, :n]
        assert (matrix.sum(-1) - 1).abs().max() < 1e-12
        assert (matrix.sum(-2) - 1).abs().max() < 1e-9
    with pytest.raises(UsageError, match="odd number of iterations, not 4"):
        DoublyStochasticAttention(place(), iterations=4)


@pytest.mark.parametrize("name", sorted(NOT_CAUSAL))
def test_language_modelling_is_refused_with_the_reason(name: str) -> None:
    model = build(VARIANTS.get(name), "nano", TextShape(vocabulary=9, length=6, classes=9, causal=True), seed=0)
    with pytest.raises(MeasurementError, match=r"no causal form.*choose another variant"):
        model(torch.tensor([[5, 6, 7]]))


@torch.no_grad()
def test_weights_of_sigmoid_attention_sum_to_about_one_without_logits_and_do_not_compete() -> None:
    layer, zero, v = SigmoidAttention(place()), torch.zeros(B, H, N, P, dtype=torch.float64), heads(2)
    told: list[Tensor] = []
    layer.mix(zero, zero, v, context=Context(watch=lambda a, v: told.append(a)))
    assert (told[0] - 1 / (1 + N)).abs().max() < 1e-12
    q, k = heads(0), heads(1)
    far = k.clone()
    far[:, :, 3] *= 50  # one key cannot take weight from the others
    for keys in (k, far):
        layer.mix(q, keys, v, context=Context(watch=lambda a, v: told.append(a)))
    others = [j for j in range(N) if j != 3]
    assert torch.equal(told[1][..., others], told[2][..., others])


@torch.no_grad()
def test_linear_attention_keeps_small_features_that_one_plus_elu_loses() -> None:
    layer = LinearAttention(place())
    q, k, v = heads(0).float(), heads(1).float() - 30, heads(2).float()
    assert (torch.nn.functional.elu(k) + 1 == 0).all()
    exact = layer.mix(q.double(), k.double(), v.double(), context=Context())
    assert (layer.mix(q, k, v, context=Context()) - exact).abs().max() < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("rows", [1, 2, 4, 7])
def test_sums_over_tokens_do_not_depend_on_the_blocks(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = heads(0), heads(1), heads(2)
    keep = torch.arange(N) < torch.tensor(LENGTHS)[:, None]
    linear, sinkhorn = LinearAttention(place()), DoublyStochasticAttention(place(), iterations=5)
    prefixes, padded = Context(causal=True), Context(keep=keep)
    want = linear.mix(q, k, v, context=prefixes), sinkhorn.mix(q, k, v, context=padded)
    monkeypatch.setattr(row_blocks, "ROWS", rows)
    assert (linear.mix(q, k, v, context=prefixes) - want[0]).abs().max() < 1e-12
    assert (sinkhorn.mix(q, k, v, context=padded) - want[1])[keep[:, None].expand(-1, H, -1)].abs().max() < 1e-12


@torch.no_grad()
def test_cosine_attention_ignores_lengths_and_its_sharpness_is_clipped() -> None:
    layer, q, k, v = CosineAttention(place()).double(), heads(0), heads(1), heads(2)
    assert layer.log_sharpness.exp().flatten().tolist() == pytest.approx([10.0, 10.0])
    want = layer.mix(q, k, v, context=Context())
    assert (layer.mix(3 * q, k * randn(B, H, N, 1).exp(), v, context=Context()) - want).abs().max() < 1e-12
    layer.log_sharpness.fill_(math.log(100.0))
    sharpest = layer.mix(q, k, v, context=Context())
    layer.log_sharpness.fill_(20.0)
    assert torch.equal(layer.mix(q, k, v, context=Context()), sharpest)


@torch.no_grad()
def test_token_statistics_shrink_directions_of_large_moments() -> None:
    layer = TokenStatisticsAttention(LayerConfig(layer=0, depth=1, width=P, heads=1, dim_head=P, norm_eps=1e-6))
    layer = layer.double()
    for weight in (layer.subspaces.weight, layer.out.weight):
        weight.copy_(torch.eye(P))
    layer.out.bias.zero_()
    scales = torch.tensor([0.01, 0.1, 1.0, 10.0], dtype=torch.float64)
    x = torch.tensor([[1.0], [-1.0]], dtype=torch.float64) * scales
    kept = 1 + layer(x[None], Context())[0] / x  # of each direction after the skip; a single head owns every token
    want = 1 - 1 / (1 + scales.square())
    assert (kept - want).abs().max() < 1e-7


@torch.no_grad()
@pytest.mark.parametrize(
    "name", ["twicing-neutreno", "boosting-carried", "linear", "cosine", "doubly-stochastic", "tost"]
)
def test_watched_rows_are_shares(name: str) -> None:
    told: list[Tensor] = []
    keep = torch.arange(N) < torch.tensor(LENGTHS)[:, None]
    for causal in (False,) if name in NOT_CAUSAL else (False, True):
        context = Context(keep=keep, causal=causal, watch=lambda a, v: told.append(a))
        attention(name)(randn(B, N, D, seed=1), context)
        assert (told[-1] >= 0).all()
        assert (told[-1].sum(-1) - 1).abs().max() < 1e-12


@torch.no_grad()
def test_the_pull_of_twicing_and_neutreno_is_zero_in_the_first_layer_only() -> None:
    x, made = randn(B, N, D, seed=1), attention("twicing-neutreno")
    twicing = ATTENTIONS.get("twicing")(place()).double()
    twicing.load_state_dict(made.state_dict())
    assert torch.equal(made(x, Context()), twicing(x, Context()))
    pulled = made(x, Context(carry={"neutreno values": heads(5)}))
    assert (pulled - twicing(x, Context())).abs().max() > 1e-3


def test_carried_residuals_keep_the_parameters_of_softmax_attention() -> None:
    made: Attention = CarriedResidualAttention(place())
    assert parts(made).state_dict().keys() == SoftmaxAttention(place()).state_dict().keys()
