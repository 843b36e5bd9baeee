"""Operations and bytes of a model, compared with counts by hand and by PyTorch's own counter and profiler."""

import gc
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from robustbench_wb.engine.footprint import Footprint, forward_flops, gradient_bytes, measure_footprint
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import ImageShape, TextShape

DIGITS = ImageShape(channels=1, height=8, width=8, classes=10, patch=2)


def variant(name: str, size: str = "nano", shape: ImageShape = DIGITS) -> nn.Module:
    channels = shape.channels
    return build(VARIANTS.get(name), size, shape, mean=[0.5] * channels, std=[0.5] * channels, seed=0)


def test_flops_of_a_vit_equal_a_count_by_hand() -> None:
    tokens, width, hidden, layers = 16 + 1, 64, 256, 4
    per_layer = (
        2 * tokens * width * 3 * width  # queries, keys, values
        + 2 * 2 * tokens * tokens * width  # products of queries and keys, and products with the values, in all heads
        + 2 * tokens * width * width  # output projection of the heads
        + 2 * 2 * tokens * width * hidden  # feed-forward block
    )
    ends = 2 * 16 * 4 * width + 2 * width * 10  # patches of 2 x 2 pixels, and the head on the class token
    assert measure_footprint(variant("vit"), DIGITS).flops == layers * per_layer + ends


@pytest.mark.parametrize("name", ["vit", "crate", "relative-bias", "bilateral-gaussian"])
def test_flops_equal_pytorchs_counter_without_fused_attention(name: str) -> None:
    model, image = variant(name).eval(), torch.full((1, 1, 8, 8), 0.5)
    with (
        torch.no_grad(),
        nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        model(image)
    assert forward_flops(model, image) == counter.get_total_flops() > 0


class Wide(nn.Module):
    """Network with 4 pixels, 1,000 squared hidden units and 2 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 1000, bias=False), nn.Linear(1000, 2, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.down(self.up(images.flatten(1)).square())
        return logits


def test_bytes_equal_a_count_by_hand() -> None:
    shape = ImageShape(channels=1, height=2, width=2, classes=2, patch=1)
    found = measure_footprint(Wide(), shape)
    assert found.flops == 2 * (4 * 1000 + 1000 * 2)
    weights, inputs = 4000 + 2000, 4 + 4  # the sample, and its copy that requires a gradient
    # The peak is in the backward pass of x^2, with five tensors of 1,000 numbers: the kept x, the gradient of the
    # square, x^1, 2 x^1, and their product. All other tensors are small.
    assert found.peak_memory == pytest.approx(4 * (weights + inputs + 5 * 1000), abs=4 * 20)


@pytest.mark.slow(5)
@pytest.mark.parametrize("name", ["vit", "crate", "relative-bias"])
def test_bytes_agree_with_the_allocator(name: str) -> None:
    shape = ImageShape(channels=3, height=64, width=64, classes=10, patch=8)
    model, image = variant(name, shape=shape).eval().requires_grad_(False), torch.full((1, 3, 64, 64), 0.5)
    given = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers(), image))
    assert gradient_bytes(model, image) - given == pytest.approx(_allocated(model, image), rel=0.25)


def _allocated(model: nn.Module, image: Tensor) -> int:
    """Peak bytes that are allocated and not yet freed, from the events of the profiler."""
    gc.collect()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        asked = image.clone().requires_grad_()
        torch.autograd.grad(model(asked).logsumexp(-1).sum(), asked)
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


def test_measuring_is_repeatable_and_restores_the_state() -> None:
    model = variant("crate").train()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = measure_footprint(model, DIGITS)
    assert first == measure_footprint(model, DIGITS)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert gc.isenabled()
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_texts_are_measured_at_full_length() -> None:
    short, long = (TextShape(vocabulary=50, length=length, classes=2) for length in (16, 32))
    found = [measure_footprint(build(VARIANTS.get("bert"), "nano", shape, seed=0), shape) for shape in (short, long)]
    assert found[1].flops > 2 * found[0].flops
    assert found[1].peak_memory > found[0].peak_memory > 0


@pytest.mark.parametrize(("name", "linear"), [("linear", True), ("tost", True), ("vit", False), ("sigmoid", False)])
def test_flops_of_linear_attentions_grow_with_the_length_and_not_with_its_square(name: str, linear: bool) -> None:
    found = []
    for length in (64, 128, 256, 512):
        shape = TextShape(vocabulary=50, length=length, classes=2)
        found.append(measure_footprint(build(VARIANTS.get(name), "nano", shape, seed=0), shape).flops)
    steps = [after - before for before, after in pairwise(found)]
    assert [later == 2 * earlier for earlier, later in pairwise(steps)] == [linear, linear]


@pytest.mark.parametrize(("name", "maps"), [("differential", 4), ("twicing-neutreno", 4), ("boosting-carried", 2)])
def test_flops_count_every_attention_map(name: str, maps: int) -> None:
    tokens, width, layers = 16 + 1, 64, 4
    plain = measure_footprint(variant("vit"), DIGITS).flops
    assert measure_footprint(variant(name), DIGITS).flops == plain + (maps - 2) * layers * 2 * tokens**2 * width


def test_flops_of_complex_filters_equal_a_count_by_hand() -> None:
    patches, width, layers, classes, directions = 16, 24, 6, 10, 10
    frequencies = 4 * (4 // 2 + 1)  # half of a 4 x 4 spectrum
    lifting = 2 * patches * (4 * 4) * width
    filters = layers * (1 + classes) * frequencies * 8 * width**2  # 4 multiplications and 4 additions
    subspaces = 2 * classes * directions * patches * width
    assert measure_footprint(variant("redunet"), DIGITS).flops == lifting + filters + subspaces


def test_a_model_that_raises_has_a_zero_footprint() -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise OSError("no such planet")

    assert measure_footprint(Broken(), DIGITS) == Footprint(0, 0)
