"""The walk is the forward pass; batches, padding and noise cannot change what is measured."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_wb.layers.measure_layers import measure_layers
from robustbench_wb.layers.snr import snr_gain, stream_noise
from robustbench_wb.layers.table import MEASURES, LayerTable
from robustbench_wb.models.backbone import Transformer, TransformerBlock
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import ImageShape, Shape
from robustbench_wb.models.sockets import Context
from tests.known import IMAGES_ONLY, NOT_CAUSAL, parts
from tests.layers import naive
from tests.layers.toys import IMAGES, NEXT, WORDS, toy


def pictures(count: int = 5) -> Tensor:
    return torch.rand(count, 1, 4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def texts(count: int = 5) -> Tensor:
    return torch.randint(1, 11, (count, 6), generator=torch.Generator().manual_seed(1))


def measured(model: Transformer, inputs: Tensor, batch: int = 64, seed: int = 0) -> LayerTable:
    return measure_layers(model, inputs, 3 * torch.arange(len(inputs)), seed=seed, batch=batch)


def everywhere(table: LayerTable) -> list[NDArray[np.float64]]:
    """Values of all measures but those of cross terms, which only some models have, and these in their first layer."""
    return [value for name, value in table.values.items() if not name.startswith("cross")]


def assert_equal(a: LayerTable, b: LayerTable) -> None:
    assert a.values.keys() == b.values.keys() == MEASURES.keys()
    for name in MEASURES:
        # The least share of a rate is 0, which rounds to about 1e-16.
        np.testing.assert_allclose(a.values[name], b.values[name], rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("variant", ["vit", "crate", "bilateral-boosting", "bert"])
def test_the_walk_takes_what_the_forward_pass_takes(variant: str) -> None:
    model, images = toy(variant, IMAGES), pictures(2)
    streams: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda m, i, out: streams.append(out)) for block in model.backbone.blocks]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    table = measured(model, images)
    for layer, stream in enumerate(streams):
        expected = [naive.similarity(sample.numpy()) for sample in stream]
        assert table.values["similarity"][layer].tolist() == pytest.approx(expected, rel=1e-10)
        expected = [(sample != 0).double().mean().item() for sample in stream]
        assert table.values["sparsity"][layer].tolist() == pytest.approx(expected, rel=1e-10)
        if layer + 1 < len(streams):
            expected = [naive.stream_rate(sample.numpy()) for sample in stream]
            assert table.values["stream_rate"][layer + 1].tolist() == pytest.approx(expected, rel=1e-10)
            block = model.backbone.blocks[layer + 1]
            normed = stream if variant == "bert" else parts(block).norm(stream).detach()
            expected = [naive.stream_rate(sample.numpy()) for sample in normed]
            assert table.values["normed_rate"][layer + 1].tolist() == pytest.approx(expected, rel=1e-10)
    assert np.isfinite(everywhere(table)).all()


@pytest.mark.parametrize(
    ("variant", "shape"),
    [
        (name, shape)
        for name in VARIANTS.names()
        for shape in (IMAGES, WORDS, NEXT)
        if not (shape.causal and name in NOT_CAUSAL) and name not in IMAGES_ONLY
    ],
)
def test_every_variant_has_every_measure_and_batches_cannot_change_it(variant: str, shape: Shape) -> None:
    model = toy(variant, shape)
    inputs = pictures() if isinstance(shape, ImageShape) else texts()
    if not isinstance(shape, ImageShape):
        inputs[2, 3:] = inputs[4, 5:] = 0
    whole = measured(model, inputs)
    assert whole.ids.tolist() == [0, 3, 6, 9, 12]
    assert np.isfinite(everywhere(whole)).all()
    assert_equal(measured(model, inputs, batch=2), whole)


@pytest.mark.parametrize("shape", [WORDS, NEXT])
@pytest.mark.parametrize("variant", ["vit", "crate", "bilateral", "boosting", "bert"])
def test_padding_cannot_change_a_measure(variant: str, shape: Shape) -> None:
    model, inputs = toy(variant, shape), texts()
    padded = torch.cat([inputs, torch.zeros(5, 2, dtype=torch.int64)], dim=1)
    assert_equal(measured(model, padded), measured(model, inputs))
    # Next to a longer text, a short one is padded inside the batch.
    mixed = padded.clone()
    mixed[1, 6:] = 4
    mixed[2, 3:] = 0
    alone = measure_layers(model, inputs[2:3, :3], torch.tensor([6]), seed=0, batch=1)
    together = measured(model, mixed).select(np.array([6]))
    assert_equal(together, alone)


def test_noise_depends_on_the_seed_and_on_nothing_before_it() -> None:
    model, images = toy("vit", IMAGES), pictures()
    first, again, other = measured(model, images), measured(model, images), measured(model, images, seed=1)
    assert np.array_equal(first.values["snr_gain"], again.values["snr_gain"])
    assert not np.allclose(first.values["snr_gain"], other.values["snr_gain"])
    for name in set(MEASURES) - {"snr_gain"}:
        assert np.array_equal(first.values[name], other.values[name], equal_nan=True)
    part = measure_layers(model, images[3:], torch.tensor([9, 12]), seed=0, batch=64)
    assert_equal(part, first.select(np.array([9, 12])))


def test_gain_is_measured_on_each_block_alone() -> None:
    model, images = toy("vit", IMAGES), pictures(2)
    with torch.no_grad():
        for block in model.backbone.blocks:
            for name, parameter in block.named_parameters():
                if "out" in name:
                    parameter.zero_()
    np.testing.assert_allclose(measured(model, images).values["snr_gain"], 0.0, atol=1e-9)


class Carrying(nn.Module):
    """An attention that mixes its input with what the first layer saw, and tells nobody."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        first = context.carry.setdefault("first", x)
        return x.mean(dim=1, keepdim=True) + first


class Twice(nn.Module):
    """Mixes twice: evenly, then not at all."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        if context.watch is not None:
            n = x.shape[1]
            values = x[:, None]
            context.watch(torch.full((len(x), 1, n, n), 1 / n, dtype=x.dtype), values)
            context.watch(torch.eye(n, dtype=x.dtype).expand(len(x), 1, n, n), values)
        return x


def replaced(make: Callable[[], nn.Module]) -> Transformer:
    model = toy("vit", IMAGES)
    for block in model.backbone.blocks:
        assert isinstance(block, TransformerBlock)
        block.attention = make()  # type: ignore[assignment]
    return model


def test_the_noisy_pass_leaves_nothing_to_later_layers_and_finds_what_earlier_ones_left() -> None:
    model, images = replaced(Carrying), pictures(2)
    table = measured(model, images)
    quiet = measure_layers(model, images, torch.tensor([0, 3]), seed=0, batch=64, noise=1e-9)
    for name in set(MEASURES) - {"snr_gain"}:
        assert np.array_equal(table.values[name], quiet.values[name], equal_nan=True)
    with torch.no_grad():
        x0, context = model.embed(images)
        x1 = model.backbone.blocks[0](x0, x0, context)
        for layer, (x, carry) in enumerate(((x0, {}), (x1, context.carry))):
            block = model.backbone.blocks[layer]
            noise = stream_noise(x, None, ids=torch.tensor([0, 3]), seed=0, layer=layer, level=0.1)
            out, noisy = (block(given, x0, Context(carry=dict(carry))) for given in (x, x + noise))
            expected = snr_gain(x, noise, clean=out, noisy=noisy, keep=None)
            assert table.values["snr_gain"][layer].tolist() == pytest.approx(expected.tolist(), rel=1e-10)


def test_a_mechanism_that_tells_nothing_has_no_attention_measures() -> None:
    table = measured(replaced(Carrying), pictures(2))
    for name in ("coding_rate", "coding_rate_share", "entropy", "entropy_share"):
        assert np.isnan(table.values[name]).all()
        assert table.defined(name).tolist() == [0, 0, 0]
        assert np.isnan(table.mean(name)).all()
    assert np.isfinite(table.mean("similarity")).all()


def test_a_block_that_mixes_twice_counts_the_mean() -> None:
    table = measured(replaced(Twice), pictures(2))
    np.testing.assert_allclose(table.values["entropy"], math.log(7) / 2, rtol=1e-12)
    np.testing.assert_allclose(table.values["entropy_share"], 0.5, rtol=1e-12)


def test_the_code_of_a_feedforward_counts_where_it_has_one() -> None:
    model, images = toy("vit", IMAGES), pictures(2)

    class Coding(nn.Module):
        def code(self, x: Tensor) -> Tensor:
            return torch.cat([x.relu(), torch.zeros_like(x)], dim=-1)

        def forward(self, x: Tensor) -> Tensor:
            return x + 1.0

    halves: list[Tensor] = []
    for block in model.backbone.blocks:
        block.feedforward = Coding()
        block.feedforward.register_forward_pre_hook(lambda module, given: halves.append(given[0]))
    with torch.no_grad():
        model(images)
    expected = [[(half[i] > 0).double().mean().item() / 2 for i in range(2)] for half in halves[:3]]
    np.testing.assert_allclose(measured(model, images).values["sparsity"], expected, rtol=1e-12)


def test_a_model_is_left_as_it_was() -> None:
    model, images = toy("crate", IMAGES), pictures(2)
    with torch.no_grad():
        before = model(images)
        measured(model, images)
        assert torch.equal(model(images), before)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_progress_is_told_and_wrong_ids_are_refused() -> None:
    told: list[int] = []
    measure_layers(toy("vit", IMAGES), pictures(), torch.arange(5), seed=0, batch=2, advance=told.append)
    assert told == [2, 2, 1]
    for count, ids in ((5, 4), (0, 0)):
        with pytest.raises(ValueError, match=f"{count} samples have {ids} ids"):
            measure_layers(toy("vit", IMAGES), pictures(count), torch.arange(ids), seed=0, batch=2)
