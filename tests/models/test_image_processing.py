"""The image-processing family and its controls: every mechanism against its formula written out with loops."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.alibi import AlibiAttention, slopes
from robustbench_wb.models.attention.base import merge_heads
from robustbench_wb.models.attention.bilateral import BilateralAttention
from robustbench_wb.models.attention.gaussian import GaussianBilateralAttention
from robustbench_wb.models.attention.relative import RelativeBiasAttention
from robustbench_wb.models.attention.rope import RopeAttention, rotate
from robustbench_wb.models.attention.softmax import SoftmaxAttention
from robustbench_wb.models.attention.tupe import TupeAttention
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import TextShape
from robustbench_wb.models.sockets import Attention, Context, LayerConfig
from robustbench_wb.models.variant import Size
from tests.known import a

D, H, P, M = 8, 2, 4, 6
PLACE = LayerConfig(layer=0, depth=2, width=D, heads=H, dim_head=P, norm_eps=1e-6)
GRID = [[r, c] for r in range(2) for c in range(3)]
Vector = list[float]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


@dataclass
class Pair:
    """A query and a key of one head, where they lie (None: nowhere), and their rows of the position table."""

    head: int
    q: Vector
    k: Vector
    i: Vector | None
    j: Vector | None
    table_i: Tensor
    table_j: Tensor

    @property
    def content(self) -> float:
        return dot(self.q, self.k) / math.sqrt(P)

    @property
    def distance(self) -> float:
        assert self.i is not None
        assert self.j is not None
        return math.dist(self.i, self.j)


def gaussian(a: GaussianBilateralAttention, pair: Pair) -> float:
    h = math.log1p(math.exp(a.theta[pair.head].item()))
    return pair.content - (pair.distance**2 / (2 * h * h) if pair.i and pair.j else 0.0)


def alibi(a: AlibiAttention, pair: Pair) -> float:
    slope = (1 / 16, 1 / 256)[pair.head]
    return pair.content - (slope * pair.distance if pair.i and pair.j else 0.0)


def bucket(offset: float) -> int:
    """0, 1, 2 exactly; then log-spaced up to 8 in two steps: [3, sqrt(24)) and beyond."""
    size = abs(offset)
    place = size if size < 3 else 3 + min(1, math.floor(2 * math.log(size / 3) / math.log(8 / 3)))
    return 4 + int(math.copysign(place, offset))


def relative(a: RelativeBiasAttention, pair: Pair) -> float:
    if not (pair.i and pair.j):
        return pair.content
    steps = [bucket(x - y) for x, y in zip(pair.i, pair.j, strict=True)]
    row, column = steps if len(steps) == 2 else (steps[0], 4)
    return pair.content + a.table[row * 9 + column, pair.head].item()


def turned(x: Vector, where: Vector | None) -> Vector:
    if where is None:
        return x
    out = list(x)
    pairs = P // (2 * len(where))  # per axis
    for axis, coordinate in enumerate(where):
        for t in range(pairs):
            base = 10000.0 if len(where) == 1 else 100.0
            angle, at = coordinate * base ** (-t / pairs), 2 * (axis * pairs + t)
            out[at] = x[at] * math.cos(angle) - x[at + 1] * math.sin(angle)
            out[at + 1] = x[at] * math.sin(angle) + x[at + 1] * math.cos(angle)
    return out


def rope(a: RopeAttention, pair: Pair) -> float:
    return dot(turned(pair.q, pair.i), turned(pair.k, pair.j)) / math.sqrt(P)


def projected(weight: Tensor, pair: Pair) -> float:
    """Their position logit before scaling, from W_Q above W_K."""
    q, k = (part[pair.head * P : (pair.head + 1) * P] for part in weight.chunk(2))
    return dot((q @ pair.table_i).tolist(), (k @ pair.table_j).tolist())


def tupe(a: TupeAttention, pair: Pair) -> float:
    assert a.position_qk is not None
    assert a.reset is not None
    content = dot(pair.q, pair.k) / math.sqrt(2 * P)
    if pair.i and pair.j:
        return content + projected(a.position_qk.weight, pair) / math.sqrt(2 * P)
    return content + a.reset[0 if pair.i is None else 1, pair.head].item()


def untied(a: BilateralAttention, pair: Pair) -> float:
    weight = a.qkv.weight[: 2 * H * P] if a.position_qk is None else a.position_qk.weight
    return pair.content + (projected(weight, pair) / math.sqrt(P) if pair.i and pair.j else 0.0)


MECHANISMS: dict[str, tuple[Callable[[], Attention], Callable[..., float]]] = {
    "gaussian": (lambda: GaussianBilateralAttention(PLACE), gaussian),
    "alibi": (lambda: AlibiAttention(PLACE), alibi),
    "relative-bias": (lambda: RelativeBiasAttention(PLACE, exact=3, steps=2, far=8), relative),
    "rope": (lambda: RopeAttention(PLACE), rope),
    "tupe": (lambda: TupeAttention(PLACE), tupe),
    "bilateral": (lambda: BilateralAttention(PLACE), untied),
    "bilateral-untied": (lambda: BilateralAttention(PLACE, kernel="untied"), untied),
}
BIASES = [name for name in MECHANISMS if name != "rope"]
RELATIVE = ["gaussian", "alibi", "relative-bias"]


def make(name: str) -> Any:
    """The mechanism in float64, its parameters large enough to matter."""
    attention = MECHANISMS[name][0]().double()
    for seed, parameter in enumerate(attention.parameters()):
        parameter.data.add_(randn(*parameter.shape, seed=seed + 50) * 0.5)
    return attention


def context(cls: bool, axes: int, look: str = "", shift: float = 0.0, dtype: torch.dtype = torch.float64) -> Context:
    """Six placed tokens, on a line (some far apart) or on a grid, behind a class token or not."""
    where = torch.tensor(GRID if axes == 2 else [[0], [1], [2], [4], [7], [20]], dtype=dtype) + shift
    nowhere = torch.full((int(cls), axes), 99.0, dtype=dtype)  # what stands there must not matter
    tokens = M + int(cls)
    table = randn(tokens, D, seed=9).to(dtype)
    table[: int(cls)] = 0.0
    keep = torch.ones(2, tokens, dtype=torch.bool)
    keep[1, 4:] = False
    return Context(
        positions=table,
        coordinates=torch.cat([nowhere, where]),
        prefix_tokens=int(cls),
        keep=keep if look == "padding" else None,
        causal=look == "causal",
    )


def written(attention: SoftmaxAttention, reference: Callable[..., float], x: Tensor, ctx: Context) -> Tensor:
    """What the mechanism must return for one sample (N, d), with loops; the second sample's padding if any."""
    assert ctx.coordinates is not None
    assert ctx.positions is not None
    where = [None if n < ctx.prefix_tokens else ctx.coordinates[n].tolist() for n in range(len(x))]
    q, k, v = (x @ attention.qkv.weight.T + attention.qkv.bias).chunk(3, dim=-1)
    out = torch.zeros(len(x), H * P, dtype=torch.float64)
    for h in range(H):
        s = slice(h * P, (h + 1) * P)
        for i in range(len(x)):
            seen = [j for j in range(len(x)) if (not ctx.causal or j <= i) and (ctx.keep is None or ctx.keep[1, j])]
            row = []
            for j in seen:
                at = (where[i], where[j], ctx.positions[i], ctx.positions[j])
                row.append(math.exp(reference(attention, Pair(h, q[i, s].tolist(), k[j, s].tolist(), *at))))
            for weight, j in zip(row, seen, strict=True):
                out[i, s] += weight / sum(row) * v[j, s]
    return out @ attention.out.weight.T + attention.out.bias


@torch.no_grad()
@pytest.mark.parametrize("look", ["", "padding", "causal"])
@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("cls", [True, False])
@pytest.mark.parametrize("name", MECHANISMS)
def test_mechanism_is_its_formula(name: str, cls: bool, axes: int, look: str) -> None:
    attention = make(name)
    x = randn(2, M + int(cls), D)
    got = attention(x, context(cls, axes, look))
    want = written(attention, MECHANISMS[name][1], x[1], ctx=context(cls, axes, look))
    assert (got[1] - want).abs().max() < 1e-10
    plain = SoftmaxAttention(PLACE).double()
    plain.load_state_dict(attention.state_dict(), strict=False)
    assert (got[1] - plain(x, context(cls, axes, look))[1]).abs().max() > 1e-3  # the positions do something


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("look", ["", "padding", "causal"])
@pytest.mark.parametrize("name", MECHANISMS)
def test_fused_is_the_matrix_that_a_watcher_sees(name: str, look: str, dtype: torch.dtype, tolerance: float) -> None:
    attention, x = make(name).to(dtype), randn(2, M + 1, D).to(dtype)
    fused = attention(x, context(True, 2, look, dtype=dtype))
    seen: list[Tensor] = []
    ctx = context(True, 2, look, dtype=dtype)
    ctx.watch = lambda matrix, values: seen.append(matrix @ values)
    attention(x, ctx)
    assert seen[0].shape == (2, H, M + 1, P)
    assert fused.dtype == dtype
    assert (fused - attention.out(merge_heads(seen[0]))).abs().max() < tolerance


@torch.no_grad()
@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("name", BIASES)
def test_where_tokens_lie_is_nothing_to_the_class_token(name: str, axes: int) -> None:
    attention = make(name)
    here, there = context(True, axes), context(True, axes)
    assert here.coordinates is not None
    assert there.positions is not None
    there.coordinates = here.coordinates + randn(M + 1, axes, seed=4).round() * 3
    there.positions = torch.cat([there.positions[:1], randn(M, D, seed=5)])
    first, second = (a(Tensor, attention.position_logits(at)) for at in (here, there))
    assert first.shape == (1, H, M + 1, M + 1)  # the batch shares it
    assert torch.equal(first[..., 0, :], second[..., 0, :])
    assert torch.equal(first[..., 0], second[..., 0])
    assert (first - second)[..., 1:, 1:].abs().max() > 1e-3
    if name == "tupe":
        assert isinstance(attention, TupeAttention)
        assert attention.reset is not None
        assert torch.equal(first[0, :, 0, :], attention.reset[0][:, None].expand(H, M + 1))
        assert torch.equal(first[0, :, 1:, 0], attention.reset[1][:, None].expand(H, M))
    else:
        assert (first[..., 0, :] == 0).all()
        assert (first[..., 0] == 0).all()


@torch.no_grad()
@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("name", [*RELATIVE, "rope"])
def test_relative_mechanisms_do_not_see_a_shift(name: str, axes: int) -> None:
    attention = make(name)
    cls = name != "rope"  # a token that is not turned lies at the origin of rope
    x = randn(2, M + int(cls), D)
    here, there = attention(x, context(cls, axes)), attention(x, context(cls, axes, shift=5.0))
    assert (here - there).abs().max() < 1e-10
    stretched = context(cls, axes)
    assert stretched.coordinates is not None
    stretched.coordinates = stretched.coordinates * 2
    assert (here - attention(x, stretched)).abs().max() > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("axes", [1, 2])
def test_rope_keeps_norms_and_compares_offsets_only(axes: int) -> None:
    attention = make("rope")
    assert isinstance(attention, RopeAttention)
    q, k = randn(1, H, 1, P).expand(-1, -1, M, -1), randn(1, H, 1, P, seed=1).expand(-1, -1, M, -1)
    where = torch.tensor([[0.0, 0], [1, 0], [0, 1], [3, 2], [4, 2], [3, 3]], dtype=torch.float64)[:, :axes]
    angles = attention.angles(Context(coordinates=where), P)
    turn = torch.stack([angles.cos(), angles.sin()])
    rq, rk = rotate(q, turn), rotate(k, turn)
    assert (rq.norm(dim=-1) - q.norm(dim=-1)).abs().max() < 1e-12
    assert torch.equal(rq[..., 0, :], q[..., 0, :])  # at the origin nothing is turned
    logits = rq @ rk.mT
    by_offset: dict[tuple[float, ...], list[Tensor]] = {}
    for i in range(M):
        for j in range(M):
            by_offset.setdefault(tuple((where[i] - where[j]).tolist()), []).append(logits[..., i, j])
    assert any(len(same) > 1 for same in by_offset.values())
    for same in by_offset.values():
        assert (torch.stack(same) - same[0]).abs().max() < 1e-12
    assert len({round(same[0][0, 0].item(), 6) for same in by_offset.values()}) == len(by_offset)
    with pytest.raises(UsageError, match="multiple of 4 entries, not 6"):
        attention.angles(context(True, 2), 6)


@torch.no_grad()
def test_buckets_are_those_of_t5_at_the_default() -> None:
    attention = RelativeBiasAttention(PLACE)
    offsets = torch.arange(-300, 301)
    got = attention.buckets(offsets.float()).tolist()
    for offset, index in zip(offsets.tolist(), got, strict=True):
        size = abs(offset)
        if size >= 16:
            size = 16 + min(7, math.floor(math.log(size / 16) / math.log(128 / 16) * 8))
        assert index == 23 + (size if offset > 0 else -size)
    assert sorted(set(got)) == list(range(47))
    assert attention.table.shape == (47**2, H)


@torch.no_grad()
def test_a_table_of_relative_bias_is_swins_within_sixteen_patches() -> None:
    attention = RelativeBiasAttention(PLACE)
    grid = torch.cartesian_prod(torch.arange(14.0), torch.arange(14.0))
    ctx = Context(coordinates=grid)
    attention.position_logits(ctx)
    offsets = {tuple(o) for o in (grid[:, None] - grid).flatten(0, 1).long().tolist()}
    assert len(ctx.carry["offset buckets"].unique()) == len(offsets) == 27**2


def test_slopes_are_those_of_the_paper() -> None:
    eight = [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]
    assert slopes(8) == eight
    assert slopes(12) == pytest.approx([*eight, 2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5])
    assert slopes(3) == [1 / 16, 1 / 256, 1 / 4]
    assert slopes(1) == [1 / 256]


def test_bandwidths_start_from_near_to_far() -> None:
    place = LayerConfig(layer=0, depth=1, width=10, heads=5, dim_head=2, norm_eps=1e-6)
    start = torch.nn.functional.softplus(GaussianBilateralAttention(place).theta)
    assert start.tolist() == pytest.approx([1, 2, 4, 8, 16], rel=1e-5)
    one = LayerConfig(layer=0, depth=1, width=2, heads=1, dim_head=2, norm_eps=1e-6)
    assert torch.nn.functional.softplus(GaussianBilateralAttention(one, near=3.0).theta).item() == pytest.approx(3)


@torch.no_grad()
def test_tupe_shares_its_positions_over_the_layers() -> None:
    later = TupeAttention(LayerConfig(layer=1, depth=2, width=D, heads=H, dim_head=P, norm_eps=1e-6)).double()
    plain = SoftmaxAttention(PLACE).double()
    assert later.state_dict().keys() == plain.state_dict().keys()
    first, ctx = make("tupe"), context(True, 2)
    own = first.position_logits(ctx)
    assert later.position_logits(ctx) is own
    with pytest.raises(UsageError, match="need the first"):
        later.position_logits(context(True, 2))
    with pytest.raises(UsageError, match="separate"):
        first.position_logits(Context())


@pytest.mark.parametrize("name", [*RELATIVE, "rope"])
def test_no_coordinates_is_said(name: str) -> None:
    with pytest.raises(UsageError, match="provides token coordinates"):
        make(name)(randn(1, M, D), Context())


VARIANT_OF = {"gaussian": "bilateral-gaussian"} | {name: name for name in MECHANISMS if name != "gaussian"}


@torch.no_grad()
@pytest.mark.parametrize("name", VARIANT_OF.values())
def test_texts_do_not_leak_through_padding_or_from_the_future(name: str) -> None:
    variant = VARIANTS.get(name).model_copy(update={"sizes": {"toy": Size(width=8, depth=2, heads=2)}})
    ids = torch.tensor([[5, 3, 4, 2, 6], [7, 1, 2, 0, 0]])
    reader = build(variant, "toy", TextShape(vocabulary=9, length=8, classes=3), seed=0).double()
    for parameter in reader.parameters():
        parameter.add_(randn(*parameter.shape, seed=parameter.numel()) * 0.3)
    assert (reader(ids)[1] - reader(ids[1:, :3])[0]).abs().max() < 1e-10
    assert (reader(ids)[0] - reader(ids[:1, [0, 2, 1, 3, 4]])[0]).abs().max() > 1e-6  # the order of words counts
    writer = build(variant, "toy", TextShape(vocabulary=9, length=8, classes=9, causal=True), seed=0).double()
    changed = ids.clone()
    changed[0, 3:] = 8
    assert writer(ids).shape == (2, 5, 9)
    assert (writer(ids) - writer(changed))[0, :3].abs().max() < 1e-10
    assert (writer(ids) - writer(changed))[0, 3:].abs().max() > 1e-6
