"""Long sequences without N x N matrices: the same answers and gradients as with them, and none of them is there."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from robustbench_wb.models.attention import biased, row_blocks
from robustbench_wb.models.attention.base import attend, attend_joined
from robustbench_wb.models.attention.biased import RowBias, attend_biased
from robustbench_wb.models.attention.median_of_means import MedianOfMeansAttention
from robustbench_wb.models.attention.row_blocks import scan_by_rows, sum_by_rows
from robustbench_wb.models.attention.tupe import TupeAttention
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import ImageShape, TextShape
from robustbench_wb.models.sockets import Context, LayerConfig
from robustbench_wb.models.variant import Size
from tests.known import IMAGES_ONLY, NOT_CAUSAL, parts

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
B, H, N, P = 3, 2, 11, 4
LENGTHS = (11, 7, 4)
TOY = Size(width=H * P, depth=2, heads=H)
WITHOUT_MATRIX = [
    "bilateral",
    "bilateral-untied",
    "bilateral-gaussian",
    "tupe",
    "relative-bias",
    "alibi",
    "robust-kde-huber",
    "robust-kde-hampel",
    "median-of-means",
    "sigmoid",
]
"""Those that write a matrix (H, N, N) or (B, H, N, N) out while sequences are short."""
LOOKS = ["text", "padded", "causal", "padded causal", "image"]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def model_and_inputs(name: str, look: str) -> tuple[nn.Module, Tensor]:
    variant = VARIANTS.get(name).model_copy(update={"sizes": {"toy": TOY}})
    shape: ImageShape | TextShape
    mean: list[float] = []
    std: list[float] = []
    if look == "image":  # 2 x 5 patches and the class token are N tokens too
        shape = ImageShape(channels=1, height=4, width=10, classes=3, patch=2)
        mean, std = [0.4], [0.3]
        inputs = torch.rand(B, 1, 4, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    else:
        causal = "causal" in look
        shape = TextShape(vocabulary=13, length=N, classes=13 if causal else 3, causal=causal)
        inputs = torch.randint(1, 13, (B, N), generator=torch.Generator().manual_seed(0))
        if "padded" in look:
            inputs[torch.arange(N) >= torch.tensor(LENGTHS)[:, None]] = 0
    model = build(variant, "toy", shape, mean=mean, std=std, seed=0).double()
    with torch.no_grad():  # large enough to matter
        for index, parameter in enumerate(model.parameters()):
            parameter.add_(randn(*parameter.shape, seed=index) * 0.5)
    return model, inputs


def answers_and_gradients(model: nn.Module, inputs: Tensor, autocast: bool = False) -> list[Tensor | None]:
    """Of the logits at real tokens, with a different weight for each."""
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        logits = model(inputs)
    if logits.ndim == 3:
        logits = logits[inputs != 0]
    (logits * randn(*logits.shape, seed=1)).sum().backward()
    return [logits.detach(), *(parameter.grad for parameter in model.parameters())]


@pytest.fixture
def force(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Every sequence is long, and worked on in small pieces."""

    def make(block: int = 4, piece: int = 1) -> None:
        monkeypatch.setattr(row_blocks, "LONG", 1)
        monkeypatch.setattr(row_blocks, "ROWS", block)
        monkeypatch.setattr(biased, "PIECE", piece)

    return make


class Largest(TorchDispatchMode):
    """Notes how many matrices (N, N) the largest tensor of them has that anything returns; of any order of axes."""

    matrices = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, tuple | list) else [out]:
            if isinstance(made, Tensor) and list(made.shape).count(N) > 1:
                self.matrices = max(self.matrices, made.untyped_storage().nbytes() // made.element_size() // N**2)
        return out


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", WITHOUT_MATRIX)
def test_answers_and_gradients_are_those_of_the_matrix(name: str, look: str, force: Callable[..., None]) -> None:
    model, inputs = model_and_inputs(name, look)
    want = answers_and_gradients(model, inputs)
    assert sum(gradient is not None and bool(gradient.abs().max() > 1e-6) for gradient in want[1:]) > 10
    for block, piece in ((1, 1), (4, 1), (4, 2 * H * 4 * N), (N + 1, 1 << 19)):
        force(block, piece)
        for one, other in zip(answers_and_gradients(model, inputs), want, strict=True):
            assert (one is None) == (other is None)
            assert one is None or other is None or (one - other).abs().max() < 1e-9 * max(1, other.abs().max().item())


@pytest.mark.parametrize(
    ("name", "look"),
    [
        (name, look)
        for name in VARIANTS.names()
        for look in LOOKS
        if not ("causal" in look and name in NOT_CAUSAL) and name not in IMAGES_ONLY
    ],
)
def test_no_variant_writes_a_matrix_out(name: str, look: str, force: Callable[..., None]) -> None:
    model, inputs = model_and_inputs(name, look)
    force()
    with Largest() as noted:
        answers_and_gradients(model, inputs)
    assert noted.matrices <= 1  # what a token of a causal text may see


@pytest.mark.parametrize("name", WITHOUT_MATRIX)
def test_the_test_can_see_a_matrix(name: str) -> None:
    model, inputs = model_and_inputs(name, "padded")
    with Largest() as noted:
        answers_and_gradients(model, inputs)
    assert noted.matrices >= H


@torch.no_grad()
@pytest.mark.parametrize("look", ["padded", "causal"])
@pytest.mark.parametrize("name", WITHOUT_MATRIX)
def test_a_watcher_is_shown_the_matrix(name: str, look: str, force: Callable[..., None]) -> None:
    model, inputs = model_and_inputs(name, look)
    told: list[list[Tensor]] = []
    want, real = model(inputs), inputs != 0
    for long in (False, True):
        if long:
            force()
        told.append([])
        x, context = parts(model).embed(inputs)
        context.watch = lambda matrix, values: told[-1].append(matrix)
        got = parts(model).head(parts(model).backbone(x, context), context)
        assert ((got - want)[real] if got.ndim == 3 else got - want).abs().max() < 1e-10
    assert [matrix.shape for matrix in told[1]] == [(B, H, N, N)] * TOY.depth
    assert all(torch.equal(one, other) for one, other in zip(*told, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("name", ["alibi", "bilateral-gaussian", "relative-bias"])
def test_autocast_makes_biases_whole(name: str, force: Callable[..., None]) -> None:
    model, inputs = model_and_inputs(name, "padded")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        want = model.float()(inputs)
        force()
        assert torch.equal(model(inputs), want)
        assert not biased.by_rows(N, inputs.device, Context())


@pytest.mark.parametrize("look", ["padded", "causal"])
@pytest.mark.parametrize("name", ["bilateral", "tupe", "robust-kde-huber"])
def test_autocast_costs_no_more_precision_than_with_the_matrix(
    name: str, look: str, force: Callable[..., None]
) -> None:
    def flat(autocast: bool = True) -> Tensor:
        found = answers_and_gradients(model, inputs, autocast)
        return torch.cat([x.flatten().float() for x in found if x is not None])

    model, inputs = model_and_inputs(name, look)
    exact = flat(autocast=False)
    model.float()
    written_out = flat()
    force()
    without = flat()
    assert 0 < (without - exact).norm() < 2 * (written_out - exact).norm() < 0.5 * exact.norm()


def look_context(look: str) -> Context:
    keep = torch.arange(N) < torch.tensor(LENGTHS)[:, None]
    return Context(keep=keep if look == "padded" else None, causal=look == "causal")


@pytest.mark.parametrize("look", ["", "padded", "causal"])
@pytest.mark.parametrize("samples", [1, B])
def test_joined_inner_products_are_a_bias(look: str, samples: int) -> None:
    q, k, v = (randn(B, H, N, P, seed=s).requires_grad_() for s in range(3))
    r, s = (randn(samples, H, N, 3, seed=s).requires_grad_() for s in (3, 4))
    joined, whole = (
        attend_joined(q, k, v, factors=(r, s), context=look_context(look)),
        attend(q, k, v, context=look_context(look), bias=r @ s.mT),
    )
    assert (joined - whole).abs().max() < 1e-12
    weight, wanted = randn(B, H, N, P, seed=5), [q, k, v, r, s]
    gradients = (torch.autograd.grad((out * weight).sum(), wanted) for out in (joined, whole))
    for one, other in zip(*gradients, strict=True):
        assert (one - other).abs().max() < 1e-11


@pytest.mark.parametrize("look", ["", "padded", "causal"])
@pytest.mark.parametrize("samples", [1, B])
def test_a_bias_by_rows_is_the_whole_one(look: str, samples: int, force: Callable[..., None]) -> None:
    """Also one of each sample, which two tensors are learned of."""
    force(block=3, piece=2 * H * 3 * N)  # two samples, then one
    q, k, v = (randn(B, H, N, P, seed=s).requires_grad_() for s in range(3))
    r, s = (randn(samples, H, N, 2, seed=s).requires_grad_() for s in (3, 4))
    allowed = look_context(look).mask(N, q.device)
    by_rows = attend_biased(
        q, k, v, allowed=allowed, bias=RowBias(lambda rows, r, s: (r[:, :, rows] @ s.mT).sin(), (r, s))
    )
    whole = attend(q, k, v, context=look_context(look), bias=(r @ s.mT).sin())
    assert (by_rows - whole).abs().max() < 1e-12
    weight, wanted = randn(B, H, N, P, seed=5), [q, k, v, r, s]
    gradients = (torch.autograd.grad((out * weight).sum(), wanted) for out in (by_rows, whole))
    for one, other in zip(*gradients, strict=True):
        assert (one - other).abs().max() < 1e-11


@pytest.mark.parametrize("block", [1, 2, 3, 7])
def test_sums_and_scans_have_the_gradients_of_finite_differences(block: int, force: Callable[..., None]) -> None:
    force(block)
    x, y, start = randn(2, 5, 3).requires_grad_(), randn(3).requires_grad_(), randn(2, 1, 3, seed=1).requires_grad_()

    def rule(rows: slice, x: Tensor, y: Tensor) -> Tensor:
        return (x[:, rows] * y).sin().sum(dim=-2, keepdim=True)

    def step(rows: slice, carry: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        sums = carry + x[:, rows].cumsum(-2)
        return (sums * y).sin(), sums[:, -1:]

    def summed(x: Tensor, y: Tensor) -> Tensor:
        return sum_by_rows(rule, (x, y))

    def scanned(start: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return scan_by_rows(step, start, (x, y))

    assert (summed(x, y) - rule(slice(None), x, y)).abs().max() < 1e-12
    assert (scanned(start, x, y) - step(slice(None), start, x, y)[0]).abs().max() < 1e-12
    assert torch.autograd.gradcheck(summed, (x, y))
    assert torch.autograd.gradcheck(scanned, (start, x, y))
    assert torch.autograd.gradcheck(lambda x: summed(x, y.detach()), (x,))  # not all need be learned


def test_a_pass_under_autocast_has_gradients_outside_it(force: Callable[..., None]) -> None:
    """On GPUs autocast leaves queries in bfloat16 beside normalised keys in float32: no product without it."""
    force()
    x, y = randn(2, 5, 3).bfloat16().requires_grad_(), randn(2, 5, 3, seed=1).float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total = sum_by_rows(lambda rows, x, y: (x[:, rows] @ y.mT).sum(), (x, y))
        scan = scan_by_rows(lambda rows, carry, x, y: (x[:, rows] @ y.mT @ y, carry), torch.zeros(1), (x, y))
    (total + scan.sum()).backward()
    want = torch.autograd.grad((x.float() @ y.mT).sum() + (x.float() @ y.mT @ y).sum(), [x, y])
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    assert y.grad is not None
    assert torch.allclose(x.grad, want[0], rtol=1e-2)
    assert torch.allclose(y.grad, want[1], rtol=1e-5)


def test_some_rows_of_the_subsets_are_rows_of_all() -> None:
    place = LayerConfig(layer=0, depth=1, width=H * P, heads=H, dim_head=P, norm_eps=1e-6)
    attention, cpu = MedianOfMeansAttention(place, subsets=3, share=0.7), torch.device("cpu")
    whole = attention.members(20, cpu)
    for start in range(20):
        for stop in range(start + 1, 21):
            assert torch.equal(attention.members(20, cpu, slice(start, stop)), whole[:, start:stop])


@torch.no_grad()
@pytest.mark.parametrize("prefix_tokens", [0, 1, 2])
def test_the_factors_of_tupe_hold_its_reset(prefix_tokens: int) -> None:
    attention = TupeAttention(LayerConfig(layer=0, depth=1, width=H * P, heads=H, dim_head=P, norm_eps=1e-6)).double()
    assert attention.reset is not None
    attention.reset.copy_(randn(2, H))
    positions = randn(N, H * P, seed=1)
    positions[:prefix_tokens] = 0
    q, k = attention.factors(Context(positions=positions, prefix_tokens=prefix_tokens))
    whole = attention.position_logits(Context(positions=positions, prefix_tokens=prefix_tokens))
    assert (q @ k.mT - whole).abs().max() < 1e-12


@torch.no_grad()
@pytest.mark.parametrize("name", ["bilateral-gaussian", "tupe", "robust-kde-huber", "median-of-means"])
def test_at_the_length_where_the_path_changes_the_answer_does_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = TextShape(vocabulary=261, length=row_blocks.LONG, classes=10)
    model = build(VARIANTS.get(name), "nano", shape, seed=0)
    ids = torch.randint(1, 261, (2, row_blocks.LONG), generator=torch.Generator().manual_seed(0))
    long = model(ids)
    monkeypatch.setattr(row_blocks, "LONG", row_blocks.LONG + 1)
    assert (model(ids) - long).abs().max() < 1e-5
    assert long.std() > 1e-2


RETURNED = {"robust-kde-huber": 4, "robust-kde-hampel": 4, "sigmoid": 4, "relative-bias": 2}
"""Size in megabytes from which a freed block goes back to the system at once, where it is not 1.

These variants use very many smaller blocks, and spent up to two thirds of the time on getting them again. What the
allocator keeps instead can only add to the peak: 30 to 130 MB."""


LOADED = """
import ctypes, os, sys
import lengths, torch
import torch._dynamo  # as the first step of an optimiser does
from robustbench_wb.models.attention import row_blocks

torch.set_num_threads(1)
allocator = ctypes.CDLL(None)
for line in sys.stdin:
    name, long, returned = line.split()
    if os.fork() == 0:
        if hasattr(allocator, "mallopt"):
            allocator.mallopt(-3, int(returned))  # M_MMAP_THRESHOLD
        row_blocks.LONG = int(long)
        batches = [lengths.texts(2, 4096, padded=True)[1:], lengths.texts(1, 4096, padded=False)]
        lengths.train_seconds(name, batches)
        print(lengths.peak_mb(), flush=True)
        os._exit(0)
    if os.wait()[1] != 0:
        sys.exit(1)
"""
"""Program that has loaded everything, and forks for each line that it reads: a variant and two numbers."""


@pytest.fixture(scope="module")
def peak_megabytes() -> Iterator[Callable[[str, int], float]]:
    """Function that gives the peak memory of a process of its own that trains on one text of 4,096 tokens, as
    benchmarks/lengths.py does on four: once with padding and once without. A sequence counts as long from ``long``
    tokens. Blocks of a megabyte and more, see ``RETURNED``, go back to the system when they are freed: what the
    allocator would keep of them differs from run to run."""
    command = [sys.executable, "-c", LOADED]
    with subprocess.Popen(command, cwd=BENCHMARKS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, told = process.stdin, process.stdout

        def measure(name: str, long: int) -> float:
            print(name, long, RETURNED.get(name, 1) << 20, file=asked, flush=True)
            return float(told.readline()) * 2**20 / 1e6

        yield measure


@pytest.mark.slow(20)
@pytest.mark.parametrize("name", ["vit", "crate-alpha", "rpc", *WITHOUT_MATRIX])
def test_a_training_step_of_4096_tokens_takes_less_than_700_mb(
    name: str, peak_megabytes: Callable[[str, int], float]
) -> None:
    """A new process that loads everything takes 330 MB, and a fork 90 MB less, as it does not read all of the libraries
    again. So four texts take less than 330 + 4 * 470 MB, about 2 GB."""
    assert 200 < peak_megabytes(name, row_blocks.LONG) < 700


@pytest.mark.slow(20)
@pytest.mark.parametrize("name", ["bilateral", "median-of-means"])
def test_a_training_step_with_the_matrix_takes_more_than_800_mb(
    name: str, peak_megabytes: Callable[[str, int], float]
) -> None:
    assert peak_megabytes(name, 1 << 20) > 800
