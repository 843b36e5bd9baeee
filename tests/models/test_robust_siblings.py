"""The robust attentions: each against its formula in plain loops, and what must hold for all of them."""

import importlib
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.elliptical import EllipticalAttention
from robustbench_wb.models.attention.median_of_means import MedianOfMeansAttention
from robustbench_wb.models.attention.neutreno import NeutrenoAttention
from robustbench_wb.models.attention.robust_kde import RobustKdeAttention
from robustbench_wb.models.attention.rpc import RpcAttention
from robustbench_wb.models.attention.softmax import SoftmaxAttention
from robustbench_wb.models.attention.twicing import TwicingAttention
from robustbench_wb.models.build import build, skeleton
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import ImageShape, TextShape
from robustbench_wb.models.sockets import Attention, Context, LayerConfig
from robustbench_wb.models.variant import Size
from tests.known import parts
from tests.models.robust_loops import D, P, kirwls, naive, naive_rpc

B, N, H = 2, 6, 2
LENGTHS = (6, 4)
NAMES = ["twicing", "neutreno", "elliptical", "rpc", "robust-kde-huber", "robust-kde-hampel", "median-of-means"]
MAKERS: dict[str, Callable[[LayerConfig], Attention]] = {
    "twicing": TwicingAttention,
    "neutreno": NeutrenoAttention,
    "elliptical": EllipticalAttention,
    "rpc": lambda place: RpcAttention(place, lam=0.5, iterations=3, layers=1),
    "robust-kde-huber": lambda place: RobustKdeAttention(place, psi="huber", a=0.75),
    "robust-kde-hampel": lambda place: RobustKdeAttention(place, psi="hampel", a=0.35),
    "median-of-means": lambda place: MedianOfMeansAttention(place, subsets=4, share=0.6),
}


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def place(layer: int = 0) -> LayerConfig:
    return LayerConfig(layer=layer, depth=2, width=D, heads=H, dim_head=P, norm_eps=1e-6)


def stack(name: str) -> nn.ModuleList:
    """Two layers, with weights large enough to matter."""
    layers = nn.ModuleList([MAKERS[name](place(0)), MAKERS[name](place(1))]).double()
    with torch.no_grad():
        for index, parameter in enumerate(layers.parameters()):
            parameter.copy_(randn(*parameter.shape, seed=100 + index) * 0.6)
    return layers


def through(layers: nn.ModuleList, x: Tensor, context: Context) -> Tensor:
    for layer in layers:
        x = x + layer(x, context)
    return x


def kept(*lengths: int, tokens: int = N) -> Tensor:
    return torch.arange(tokens)[None] < torch.tensor(lengths)[:, None]


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_each_is_its_formula(name: str, padded: bool, causal: bool) -> None:
    layers, x = stack(name), randn(B, N, D, seed=1) * 1.5
    context = Context(keep=kept(*LENGTHS) if padded else None, causal=causal)
    before: dict[tuple[int, int], Tensor] = {}
    for index, layer in enumerate(layers):
        project, got = layer.kv if name == "rpc" else layer.qkv, layer(x, context)
        for sample in range(B):
            n = LENGTHS[sample] if padded else N
            split = (x[sample, :n] @ parts(project).weight.T + parts(project).bias).split(H * P, dim=-1)
            heads = []
            for h in range(H):
                own = [part[:, h * P : (h + 1) * P] for part in split]
                heads.append(naive(name=name, layer=index, parts=own, before=before.get((sample, h)), causal=causal))
                before[sample, h] = own[-1]
            want = torch.cat(heads, dim=-1) @ parts(layer).out.weight.T + parts(layer).out.bias
            assert (got[sample, :n] - want).abs().max() < 1e-10
        x = x + got


def test_the_toy_settings_reach_every_branch() -> None:
    """Else the loops above would prove nothing: outliers exist, all parts of psi are hit, subsets matter."""
    k, v = randn(N, P, seed=3), randn(N, P, seed=4)
    assert (naive_rpc(k, v, causal=False, steps=3) - naive_rpc(k, v, causal=False, steps=3, lam=1e6)).abs().max() > 1e-3
    unit = list(nn.functional.normalize(k, dim=-1))
    for psi, a in (("huber", 0.75), ("hampel", 0.35)):
        values = kirwls([torch.cat([x, y]) for x, y in zip(unit, v, strict=True)], psi, a) + kirwls(unit, psi, a)
        assert max(values) - min(values) > 1e-3
    assert (
        len(
            {
                tuple(row)
                for row in MedianOfMeansAttention(place(), subsets=4, share=0.6).members(N, k.device)[:, -1].tolist()
            }
        )
        > 1
    )


# --- What must hold for all. ---


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_padding_never_changes_real_tokens(name: str, causal: bool) -> None:
    layers, x = stack(name), randn(B, 4, D, seed=1)
    want = [through(layers, x[:1, :3], Context(causal=causal)), through(layers, x[1:], Context(causal=causal))]
    for garbage, tokens in ((5.0, 5), (-300.0, 9)):
        longer = torch.cat([x, garbage * randn(B, tokens - 4, D, seed=2)], dim=1)
        longer[0, 3] = garbage
        got = through(layers, longer, Context(keep=kept(3, 4, tokens=tokens), causal=causal))
        assert (got[0, :3] - want[0][0]).abs().max() < 1e-10
        assert (got[1, :4] - want[1][0]).abs().max() < 1e-10


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_a_later_token_never_changes_an_earlier_answer(name: str) -> None:
    layers, x = stack(name), randn(B, N, D, seed=1)
    want = through(layers, x, Context(causal=True))
    for changed in range(1, N):
        other = x.clone()
        other[:, changed] = 4 * randn(B, D, seed=changed)
        got = through(layers, other, Context(causal=True))
        assert (got[:, :changed] - want[:, :changed]).abs().max() < 1e-12
        assert (got[:, changed:] - want[:, changed:]).abs().max() > 1e-4


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "elliptical"])
def test_gradients_are_those_of_finite_differences(name: str, causal: bool) -> None:
    layers, x = stack(name), randn(B, 5, D, seed=1).requires_grad_()
    keep = kept(5, 3, tokens=5)

    def real(x: Tensor) -> Tensor:
        return through(layers, x, Context(keep=keep, causal=causal))[keep]

    assert torch.autograd.gradcheck(real, (x,))


@pytest.mark.parametrize("causal", [False, True])
def test_no_gradient_passes_through_the_elliptical_metric(causal: bool) -> None:
    layers, x = stack("elliptical"), randn(B, N, D, seed=1).requires_grad_()
    hidden = torch.ones(N, N, dtype=torch.bool).triu(1) if causal else torch.zeros(N, N, dtype=torch.bool)

    def written(x: Tensor, stop: bool) -> Tensor:
        old = None
        for layer in layers:
            q, k, v = (part.view(B, N, H, P).transpose(1, 2) for part in parts(layer).qkv(x).split(H * P, dim=-1))
            m = torch.ones(B, H, N, P, dtype=torch.float64)
            if old is not None:
                change = (v - old).abs()
                m = torch.stack([change[:, :, : i + 1 if causal else N].mean(2) for i in range(N)], dim=2)
                m = m / m.max(dim=-1, keepdim=True).values
            m = m.detach() if stop else m
            logits = torch.einsum("bhip,bhip,bhjp->bhij", q, m, k) / math.sqrt(P)
            x = x + parts(layer).out((logits.masked_fill(hidden, -math.inf).softmax(-1) @ v).transpose(1, 2).flatten(2))
            old = v
        return x

    def gradients(out: Tensor) -> Tensor:
        found = torch.autograd.grad(out.square().sum(), [x, *layers.parameters()])
        return torch.cat([gradient.flatten() for gradient in found])

    got = gradients(through(layers, x, Context(causal=causal)))
    assert (got - gradients(written(x, stop=True))).abs().max() < 1e-9
    assert (got - gradients(written(x, stop=False))).abs().max() > 1e-3


@pytest.mark.parametrize("what", ["equal tokens", "zero maps", "one token"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_divided_by_zero(name: str, causal: bool, what: str) -> None:
    layers, x = stack(name).float(), randn(B, 1 if what == "one token" else N, D).float()
    if what == "equal tokens":
        x = x[:, :1].expand(-1, N, -1).clone()
    elif what == "zero maps":  # queries, keys and values are zero
        for layer in layers:
            nn.init.zeros_((parts(layer.kv if name == "rpc" else layer.qkv)).weight)
            nn.init.zeros_((parts(layer.kv if name == "rpc" else layer.qkv)).bias)
    out = through(layers, x.requires_grad_(), Context(causal=causal))
    out.sum().backward()
    assert out.isfinite().all()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in [x, *layers.parameters()])


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", ["twicing", "neutreno", "elliptical", "rpc", "median-of-means"])
def test_fused_equals_written_out(name: str, causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(q: Tensor, k: Tensor, v: Tensor, context: Context, bias: Tensor | None = None) -> Tensor:
        logits = q @ k.mT / math.sqrt(q.shape[-1]) + (0 if bias is None else bias)
        mask = context.mask(q.shape[-2], q.device)
        return (logits if mask is None else logits.masked_fill(~mask, -math.inf)).softmax(-1) @ v

    layers, x, keep = stack(name), randn(B, N, D, seed=1), kept(*LENGTHS)
    context = Context(keep=keep, causal=causal)
    fused = [layer(x, context)[keep] for layer in layers]  # each sees a stream of unit size, as behind a norm
    monkeypatch.setattr(importlib.import_module(type(layers[0]).__module__), "attend", written)
    context = Context(keep=keep, causal=causal)
    for layer, want in zip(layers, fused, strict=True):
        assert (layer(x, context)[keep] - want).abs().max() < 1e-10


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_watcher_is_told_once_a_layer_and_changes_nothing(name: str, causal: bool) -> None:
    told: list[tuple[Tensor, Tensor]] = []
    layers, x, keep = stack(name), randn(B, N, D, seed=1), kept(*LENGTHS)
    want = through(layers, x, Context(keep=keep, causal=causal))
    context = Context(keep=keep, causal=causal, watch=lambda a, v: told.append((a, v)))
    assert (through(layers, x, context)[keep] - want[keep]).abs().max() < 1e-12
    assert [(a.shape, v.shape) for a, v in told] == [((B, H, N, N), (B, H, N, P))] * 2
    for a, _ in told:
        assert (a >= 0).all()
        assert (a[1, :, :4, 4:] == 0).all()
        assert not causal or (a.triu(1)[:, :, :4] == 0).all()
        if not name.startswith("robust-kde"):  # whose rows weight numerator and denominator differently
            assert (a.sum(-1) - 1).abs().max() < 1e-12


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_variant_reads_text(name: str, causal: bool) -> None:
    variant = VARIANTS.get(name).model_copy(update={"sizes": {"toy": Size(width=8, depth=2, heads=2)}})
    shape = TextShape(vocabulary=11, length=7, classes=11 if causal else 3, causal=causal)
    model = build(variant, "toy", shape, seed=0).double()
    ids = torch.tensor([[1, 2, 3, 4, 5, 6, 7], [1, 8, 9, 0, 0, 0, 0]])
    out = model(ids)
    assert out.shape == ((2, 7, 11) if causal else (2, 3))
    short = model(ids[1:, :3])
    assert torch.allclose(out[1, :3] if causal else out[1], short[0], rtol=0, atol=1e-10)
    (out[0].sum() + short.sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_they_have_the_parameters_of_vit(name: str) -> None:
    shape = ImageShape(channels=3, height=224, width=224, classes=1000, patch=16)
    count = sum(p.numel() for p in skeleton(VARIANTS.get(name), "tiny", shape).parameters())
    assert count == 5_717_416 - (12 * (192 * 192 + 192) if name == "rpc" else 0)  # it has no queries


# --- Special cases. ---


def heads(seed: int) -> Tensor:
    return randn(B, H, N, P, seed=seed)


@torch.no_grad()
def test_twicing_gives_back_what_an_identity_keeps_and_what_a_mean_loses() -> None:
    attention, v = TwicingAttention(place()), heads(0)
    far = torch.cat([100 * torch.eye(4), -100 * torch.eye(4)])[:N].double().expand(B, H, -1, -1)
    assert (attention.mix(far, far, v, context=Context()) - v).abs().max() < 1e-12
    mean = attention.mix(torch.zeros_like(v), heads(1), v, context=Context())
    assert (mean - v.mean(2, keepdim=True)).abs().max() < 1e-12
    a = torch.softmax(heads(1) @ heads(2).mT / 2, dim=-1)
    assert (attention.mix(heads(1), heads(2), v, context=Context()) - (2 * a - a @ a) @ v).abs().max() < 1e-12
    assert (
        TwicingAttention(place(0), first_layer=1).mix(heads(1), heads(2), v, context=Context()) - a @ v
    ).abs().max() < 1e-12


@torch.no_grad()
def test_without_their_idea_they_are_softmax_attention() -> None:
    softmax, x = SoftmaxAttention(place()).double(), randn(B, N, D, seed=1)
    want, v = softmax(x, Context()), softmax.qkv(x)[..., 2 * H * P :].view(B, N, H, P).transpose(1, 2)
    pull, ellipse = NeutrenoAttention(place(1), lam=0.0).double(), EllipticalAttention(place(1)).double()
    pull.load_state_dict(softmax.state_dict())
    ellipse.load_state_dict(softmax.state_dict())
    assert (pull(x, Context(carry={"neutreno values": heads(0)})) - want).abs().max() < 1e-12
    for change in (0.25, 0.0):  # the same change of every feature makes m = 1; none at all is guarded
        assert (ellipse(x, Context(carry={"elliptical values": v - change})) - want).abs().max() < 1e-12
    assert (ellipse(x, Context(carry={"elliptical values": heads(0)})) - want).abs().max() > 1e-3


@torch.no_grad()
def test_rpc_of_one_step_is_attention_among_clipped_keys() -> None:
    attention, x = RpcAttention(place(), lam=0.3, iterations=1).double(), randn(B, N, D, seed=1)
    k, v = (part.view(B, N, H, P).transpose(1, 2) for part in attention.kv(x).split(H * P, dim=-1))
    limit = 0.3 * N * D / (4 * k.abs().sum(dim=(2, 3), keepdim=True))
    clipped = torch.minimum(torch.maximum(k, -limit), limit)
    assert 0 < (k.abs() > limit).double().mean() < 1
    want = attention.out((torch.softmax(clipped @ clipped.mT / 2, -1) @ v).transpose(1, 2).flatten(2))
    assert (attention(x, Context()) - want).abs().max() < 1e-12


@torch.no_grad()
def test_without_robustness_the_density_estimates_are_one() -> None:
    q, k, v = heads(0), heads(1), heads(2)
    unit = k / k.norm(dim=-1, keepdim=True)
    want = torch.softmax(-torch.cdist(q, unit).square() / 2, dim=-1) @ v
    for attention in (
        RobustKdeAttention(place(), psi="huber", a=math.inf),
        RobustKdeAttention(place(), psi="hampel", a=1e6),
        MedianOfMeansAttention(place(), share=1.0),
    ):
        assert (attention.mix(q, k, v, context=Context()) - want).abs().max() < 1e-12
    assert (RobustKdeAttention(place()).mix(q, k, v, context=Context()) - want).abs().max() > 1e-3
    assert (MedianOfMeansAttention(place()).mix(q, k, v, context=Context()) - want).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("psi", ["huber", "hampel"])
def test_an_outlier_weighs_least(psi: str) -> None:
    points = torch.tensor([[0.0, 0.1], [0.1, 0.0], [0.0, 0.0], [0.1, 0.1], [2.0, 2.0]], dtype=torch.float64)
    gram = torch.exp(-torch.cdist(points, points).square())[None, None]
    weights = (
        RobustKdeAttention(place(), psi=psi).log_weights(gram.mean(-2, keepdim=True), gram.new_ones(1)).exp().flatten()
    )
    assert weights.sum().item() == pytest.approx(1.0)
    assert weights[4] < 0.6 * weights[:4].min()


def test_subsets_are_counted_and_every_token_sees_itself() -> None:
    attention = MedianOfMeansAttention(place(0))
    members = attention.members(40, torch.device("cpu"))
    for n in (1, 2, 19, 20, 21, 40):
        assert (members[:, n - 1].sum(-1) == max(1, n * 95 // 100)).all()
    assert torch.equal(attention.members(30, torch.device("cpu")), members[:, :30, :30])
    assert len({tuple(row) for row in members[:, -1].tolist()}) == 5
    assert not torch.equal(MedianOfMeansAttention(place(1)).members(40, torch.device("cpu")), members)
    told: list[Tensor] = []
    context = Context(watch=lambda a, _: told.append(a))
    MedianOfMeansAttention(place(), share=0.2).mix(heads(0), heads(1), heads(2), context=context)
    assert (told[0].diagonal(dim1=-2, dim2=-1) > 0).all()
    assert ((told[0] > 0).sum(-1) <= 2).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RobustKdeAttention(place(), psi="tukey"), "huber or hampel"),
        (lambda: RobustKdeAttention(place(), a=0.0), "a > 0"),
        (lambda: RpcAttention(place(), iterations=0), "iterations >= 1"),
        (lambda: RpcAttention(place(), lam=-1.0), "lam >= 0"),
        (lambda: MedianOfMeansAttention(place(), subsets=0), "subsets >= 1"),
        (lambda: MedianOfMeansAttention(place(), share=1.5), "share <= 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(make: Callable[[], Attention], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
