"""Cross terms of content and position: against plain loops, the attention of the model, and models that have none."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb.layers.measure_layers import measure_layers
from robustbench_wb.layers.table import LayerTable
from robustbench_wb.models.backbone import Transformer, TransformerBlock
from robustbench_wb.models.shape import ImageShape, Shape, TextShape
from tests.layers.toys import IMAGES, NEXT, WORDS, toy

Array = NDArray[np.float64]
PLAIN = ("vit", "crate", "twicing", "neutreno", "boosting", "boosting-learned")


def inputs(shape: Shape) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if isinstance(shape, ImageShape):
        return torch.rand(3, 1, 4, 6, generator=generator, dtype=torch.float64)
    tokens = torch.randint(1, 11, (3, 8), generator=generator)
    tokens[1, 5:] = 0
    tokens[2, 1:] = 0  # a single token
    return tokens


def measured(model: Transformer, given: Tensor) -> LayerTable:
    return measure_layers(model, given, torch.arange(len(given)), seed=0, batch=8)


def first(model: Transformer) -> TransformerBlock:
    block = model.backbone.blocks[0]
    assert isinstance(block, TransformerBlock)
    return block


def array(tensor: Tensor | None) -> Array:
    assert tensor is not None
    return np.array(tensor.detach().numpy(), dtype=np.float64)


class Naive:
    """Terms of the logits of one sample of a model, in loops over heads and pairs."""

    def __init__(self, model: Transformer, sample: Tensor) -> None:
        block, tokens = first(model), sample[sample != 0] if sample.dtype == torch.int64 else sample
        stream, context = model.embed(tokens[None])
        self.causal, norm = context.causal, block.norm
        residual = block.residual.state_dict().get("coefficients")
        factor = {"BoostingResidual": 2.0}.get(type(block.residual).__name__, 1.0)  # F(x + x0) of x = x0
        if residual is not None:
            factor = float(residual[2] + residual[3])
        z = factor * array(stream[0])
        p = factor * array(dict(model.embedding.named_parameters())["positions.table"])[: len(z)]
        deviation = np.sqrt(z.var(axis=1, keepdims=True) + norm.eps)

        def scaled(x: Array) -> Array:
            return array(norm.weight) * (x - x.mean(axis=1, keepdims=True)) / deviation

        self.content, self.position, self.constant = scaled(z - p), scaled(p), array(norm.bias)
        state = {name: array(tensor) for name, tensor in block.attention.state_dict().items()}
        if "subspaces.weight" in state:
            self.q = self.k = state["subspaces.weight"]
            self.q_bias = self.k_bias = np.zeros(len(self.q))
        else:
            self.q, self.k, _ = np.split(state["qkv.weight"], 3)
            self.q_bias, self.k_bias, _ = np.split(state["qkv.bias"], 3)

    def terms(self, head: int) -> dict[str, Array]:
        """Matrices (n, n) of one of the two heads, which have 4 entries each; NaN where attention is not allowed."""
        n, own = len(self.content), slice(4 * head, 4 * head + 4)
        found = {name: np.full((n, n), math.nan) for name in ("all", "cross", "content", "position")}
        for i in range(n):
            for j in range(i + 1 if self.causal else n):
                e_q, p_q = (self.q @ part[i] for part in (self.content, self.position))
                e_k, p_k = (self.k @ part[j] for part in (self.content, self.position))
                b_q, b_k = self.q @ self.constant + self.q_bias, self.k @ self.constant + self.k_bias

                def product(one: Array, other: Array) -> float:
                    return float(one[own] @ other[own]) / math.sqrt(4)

                found["all"][i, j] = product(e_q + p_q + b_q, e_k + p_k + b_k)
                found["cross"][i, j] = product(e_q, p_k) + product(p_q, e_k)
                found["content"][i, j] = product(e_q + b_q, e_k + b_k)
                found["position"][i, j] = product(p_q + b_q, p_k + b_k)
        return found

    def share(self) -> float:
        energy = dict.fromkeys(("cross", "content", "position"), 0.0)
        for head in range(2):
            for name, sum_so_far in energy.items():
                term = self.terms(head)[name]
                centred = term - np.nanmean(term, axis=1, keepdims=True)
                energy[name] = sum_so_far + float(np.nansum(centred**2))
        total = sum(energy.values())
        return energy["cross"] / total if total else math.nan

    def shift(self) -> float:
        moved = []
        for head in range(2):
            terms = self.terms(head)
            for whole, cross in zip(terms["all"], terms["cross"], strict=True):
                moved.append(np.abs(softmax(whole) - softmax(whole - cross)).sum() / 2)
        return float(np.mean(moved))


def softmax(logits: Array) -> Array:
    powers = np.exp(logits[~np.isnan(logits)])
    return np.asarray(powers / powers.sum())


@pytest.mark.parametrize("variant", PLAIN)
@pytest.mark.parametrize("shape", [IMAGES, WORDS, NEXT], ids=["images", "padded", "causal"])
def test_share_and_shift_are_those_of_plain_loops(variant: str, shape: Shape) -> None:
    model, given = toy(variant, shape), inputs(shape)
    table = measured(model, given)
    naive = [Naive(model, sample) for sample in given]
    shares = table.values["cross_share"][0].tolist()
    assert shares == pytest.approx([one.share() for one in naive], rel=1e-9, nan_ok=True)
    assert table.values["cross_shift"][0].tolist() == pytest.approx([one.shift() for one in naive], rel=1e-9)
    assert 0.02 < shares[0] < 0.9  # neither all nor nothing
    assert math.isnan(shares[2]) == isinstance(shape, TextShape)  # a single token has no other one to attend to
    assert np.isnan(table.values["cross_share"][1]).all()  # later layers
    assert np.isnan(table.values["cross_shift"][1]).all()


@pytest.mark.parametrize("variant", PLAIN)
def test_the_terms_are_those_of_the_attention_of_the_model(variant: str) -> None:
    model, (sample, *_) = toy(variant, IMAGES), inputs(IMAGES)
    x0, context = model.embed(sample[None])
    seen: list[Tensor] = []
    context.watch = lambda matrix, values: seen.append(matrix)
    first(model)(x0, x0, context)
    naive = Naive(model, sample)
    for head in range(2):
        whole = naive.terms(head)
        expected = np.array([softmax(row) for row in whole["all"]])
        np.testing.assert_allclose(array(seen[0][0, head]), expected, rtol=1e-9)
        parts = whole["cross"] + whole["content"] + whole["position"]
        rest = whole["all"] - parts  # the same for all pairs
        np.testing.assert_allclose(rest, rest[0, 0], atol=1e-12)


def test_without_positions_there_are_no_cross_terms() -> None:
    model, given = toy("vit", IMAGES), inputs(IMAGES)
    with torch.no_grad():
        dict(model.embedding.named_parameters())["positions.table"].zero_()
    table = measured(model, given)
    assert table.values["cross_share"][0].tolist() == [0.0] * 3
    assert table.values["cross_shift"][0].tolist() == [0.0] * 3


def test_large_logits_move_all_attention_and_none() -> None:
    """Attention is hard on both sides: without its cross terms it looks at other tokens, or at the same."""
    model, given = toy("crate", IMAGES), inputs(IMAGES)
    with torch.no_grad():
        first(model).norm.weight.mul_(1e3)
    moved = measured(model, given).values["cross_shift"][0]
    expected = [Naive(model, sample) for sample in given]
    for value, naive in zip(moved, expected, strict=True):
        hard = [naive.terms(head) for head in range(2)]
        others = [np.argmax(one["all"], axis=1) != np.argmax(one["all"] - one["cross"], axis=1) for one in hard]
        assert value == pytest.approx(np.mean(others), abs=1e-6)


@pytest.mark.parametrize("shape", [IMAGES, WORDS], ids=["images", "texts"])
@pytest.mark.parametrize("variant", ["bilateral", "tupe", "rope", "relative-bias", "bert", "sigmoid"])
def test_models_without_added_positions_or_with_other_attention_have_none(variant: str, shape: Shape) -> None:
    table = measured(toy(variant, shape), inputs(shape))
    assert np.isnan(table.values["cross_share"]).all()
    assert np.isnan(table.values["cross_shift"]).all()


@pytest.mark.parametrize(("variant", "shape"), [("vit-modern", IMAGES), ("crate-bert", WORDS)])
def test_embeddings_that_do_more_after_adding_positions_have_none(variant: str, shape: Shape) -> None:
    table = measured(toy(variant, shape), inputs(shape))
    assert np.isnan(table.values["cross_share"]).all()
    assert np.isnan(table.values["cross_shift"]).all()


def test_fixed_positions_count_as_well() -> None:
    table = measured(toy("crate-mae", IMAGES), inputs(IMAGES))
    assert table.values["cross_share"][0].min() > 0
    assert np.isfinite(table.values["cross_shift"][0]).all()
