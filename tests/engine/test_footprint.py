"""Operations and bytes of a subject, against counts by hand and by PyTorch's own counter and profiler."""

import gc

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from robustbench_wb.engine.footprint import Footprint, footprint, forward_flops, gradient_bytes
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import ImageShape, TextShape

DIGITS = ImageShape(channels=1, height=8, width=8, classes=10, patch=2)


def variant(name: str, size: str = "nano", shape: ImageShape = DIGITS) -> nn.Module:
    channels = shape.channels
    return build(VARIANTS.get(name), size, shape, mean=[0.5] * channels, std=[0.5] * channels, seed=0)


def test_flops_of_a_vit_are_those_counted_by_hand() -> None:
    tokens, width, hidden, layers = 16 + 1, 64, 256, 4
    per_layer = (
        2 * tokens * width * 3 * width  # queries, keys, values
        + 2 * 2 * tokens * tokens * width  # their products, and those with the values, of all heads together
        + 2 * tokens * width * width  # the heads together
        + 2 * 2 * tokens * width * hidden  # the feed-forward part
    )
    ends = 2 * 16 * 4 * width + 2 * width * 10  # patches of 2 x 2 pixels, and the head on the class token
    assert footprint(variant("vit"), DIGITS).flops == layers * per_layer + ends


@pytest.mark.parametrize("name", ["vit", "crate", "relative-bias", "bilateral-gaussian"])
def test_flops_are_those_of_pytorchs_counter_with_attention_written_out(name: str) -> None:
    model, image = variant(name).eval(), torch.full((1, 1, 8, 8), 0.5)
    with (
        torch.no_grad(),
        nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        model(image)
    assert forward_flops(model, image) == counter.get_total_flops() > 0


class Wide(nn.Module):
    """From 4 pixels to 1,000 numbers, squared, and down to 2 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 1000, bias=False), nn.Linear(1000, 2, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        answers: Tensor = self.down(self.up(images.flatten(1)).square())
        return answers


def test_bytes_are_those_counted_by_hand() -> None:
    shape = ImageShape(channels=1, height=2, width=2, classes=2, patch=1)
    found = footprint(Wide(), shape)
    assert found.flops == 2 * (4 * 1000 + 1000 * 2)
    weights, inputs = 4000 + 2000, 4 + 4  # the sample, and the copy that is asked for a gradient
    # At the peak, on the way back through x^2, five times 1,000 numbers: x, which was kept, the gradient of the square,
    # x^1, 2 x^1, and their product. The rest are single numbers.
    assert found.peak_memory == pytest.approx(4 * (weights + inputs + 5 * 1000), abs=4 * 20)


@pytest.mark.parametrize("name", ["vit", "crate", "relative-bias"])
def test_bytes_are_about_what_the_allocator_gave(name: str) -> None:
    shape = ImageShape(channels=3, height=64, width=64, classes=10, patch=8)
    model, image = variant(name, shape=shape).eval().requires_grad_(False), torch.full((1, 3, 64, 64), 0.5)
    given = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers(), image))
    assert gradient_bytes(model, image) - given == pytest.approx(_allocated(model, image), rel=0.25)


def _allocated(model: nn.Module, image: Tensor) -> int:
    """The peak of what the profiler saw allocated and not yet freed."""
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


def test_it_is_the_same_each_time_and_leaves_everything_as_it_was() -> None:
    model = variant("crate").train()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = footprint(model, DIGITS)
    assert first == footprint(model, DIGITS)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert gc.isenabled()
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_texts_are_taken_at_full_length() -> None:
    short, long = (TextShape(vocabulary=50, length=length, classes=2) for length in (16, 32))
    found = [footprint(build(VARIANTS.get("bert"), "nano", shape, seed=0), shape) for shape in (short, long)]
    assert found[1].flops > 2 * found[0].flops
    assert found[1].peak_memory > found[0].peak_memory > 0


def test_a_model_that_raises_has_none() -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise OSError("no such planet")

    assert footprint(Broken(), DIGITS) == Footprint(0, 0)
