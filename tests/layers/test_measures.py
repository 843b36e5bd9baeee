"""Every measure against the naive one; padding, zero tokens and broken activations."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from robustbench_wb.layers.coding_rate import EPS2, stream_rate, subspace_bounds, subspace_rate, subspace_share
from robustbench_wb.layers.entropy import attention_entropy
from robustbench_wb.layers.real_tokens import unit
from robustbench_wb.layers.similarity import token_similarity
from robustbench_wb.layers.snr import snr_gain, stream_noise
from robustbench_wb.layers.sparsity import nonzero_fraction
from tests.layers import naive

LENGTHS = (7, 4, 1)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def keep() -> Tensor:
    return torch.arange(max(LENGTHS))[None, :] < torch.tensor(LENGTHS)[:, None]


def softmax_matrix(keep: Tensor | None, causal: bool, heads: int = 2) -> tuple[Tensor, Tensor]:
    """Attention of three samples, and the mask it was made with, (3, 1, 7, 7)."""
    allowed = torch.ones(3, 1, 7, 7, dtype=torch.bool)
    if keep is not None:
        allowed &= keep[:, None, None, :]
    if causal:
        allowed &= torch.ones(7, 7, dtype=torch.bool).tril()
    logits = 2 * draw(3, heads, 7, 7).masked_fill(~allowed, -math.inf)
    return torch.softmax(logits, -1), allowed


@pytest.mark.parametrize("p", [3, 12])  # fewer and more than there are tokens: both sides of Sylvester's identity
def test_rates_equal_the_naive_ones(p: int, keep: Tensor) -> None:
    values, tokens = draw(3, 2, 7, p), draw(3, 7, p)
    for mask, lengths in ((None, (7, 7, 7)), (keep, LENGTHS)):
        expected = [naive.subspace_rate(values[i, :, :n].numpy()) for i, n in enumerate(lengths)]
        assert subspace_rate(values, mask).tolist() == pytest.approx(expected, rel=1e-12)
        expected = [naive.stream_rate(tokens[i, :n].numpy()) for i, n in enumerate(lengths)]
        assert stream_rate(tokens, mask).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "p"), [(5, 3), (3, 5)])
def test_the_bounds_of_the_rate_are_reached(n: int, p: int) -> None:
    low, high = subspace_bounds(torch.tensor([float(n)], dtype=torch.float64), 2, p)
    parallel = draw(1, 2, 1, p) * torch.arange(1.0, n + 1)[:, None]
    assert subspace_rate(parallel, None).item() == pytest.approx(low.item(), rel=1e-12)
    # A tight frame: n tokens whose Gram matrix has min(n, p) equal eigenvalues.
    angles = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    frame = torch.eye(3, 5, dtype=torch.float64) if n == 3 else torch.stack([angles.cos(), angles.sin()], dim=1)
    spread = frame.expand(1, 2, *frame.shape)
    low, high = subspace_bounds(torch.tensor([float(n)], dtype=torch.float64), 2, frame.shape[1])
    assert subspace_rate(spread, None).item() == pytest.approx(high.item(), rel=1e-12)
    assert subspace_share(high, spread, None).item() == pytest.approx(1.0)
    assert subspace_share(low, spread, None).item() == pytest.approx(0.0)


def test_the_bounds_are_the_published_ones() -> None:
    for heads, p, low, high in ((6, 64, 26.3, 886.1), (12, 48, 50.9, 1329.2), (12, 64, 52.6, 1772.2)):
        bounds = subspace_bounds(torch.tensor([197.0]), heads, p)
        assert [bound.item() for bound in bounds] == pytest.approx([low, high], abs=0.06)
    assert EPS2 == 0.01


@pytest.mark.parametrize("causal", [False, True])
def test_entropy_equals_the_naive_one(causal: bool, keep: Tensor) -> None:
    for mask, lengths in ((None, (7, 7, 7)), (keep, LENGTHS)):
        matrix, allowed = softmax_matrix(mask, causal)
        given = allowed if mask is not None or causal else None
        nats, shares = attention_entropy(matrix, given, mask)
        expected = [
            naive.entropy(matrix[i, :, :n, :n].numpy(), allowed[i, 0, :n, :n].numpy()) for i, n in enumerate(lengths)
        ]
        assert nats.tolist() == pytest.approx([e[0] for e in expected], rel=1e-12)
        assert shares.tolist() == pytest.approx([e[1] for e in expected], rel=1e-12, nan_ok=True)


def test_entropy_of_even_hard_signed_and_empty_rows() -> None:
    def of(row: list[float]) -> list[float]:
        matrix = torch.tensor(row, dtype=torch.float64).expand(1, 1, 4, 4)
        return [value.item() for value in attention_entropy(matrix, None, None)]

    assert of([0.25] * 4) == pytest.approx([math.log(4), 1.0])
    assert of([0.0, 1.0, 0.0, 0.0]) == [0.0, 0.0]
    assert of([1.5, -0.5, 0.0, 0.0]) == of([3.0, 1.0, 0.0, 0.0])
    assert of([0.0] * 4) == [0.0, 0.0]


def test_similarity_and_sparsity_equal_the_naive_ones(keep: Tensor) -> None:
    tokens = draw(3, 7, 5).relu()
    for mask, lengths in ((None, (7, 7, 7)), (keep, LENGTHS)):
        real = [tokens[i, :n].numpy() for i, n in enumerate(lengths)]
        expected = [naive.similarity(x) for x in real]
        assert token_similarity(tokens, mask).tolist() == pytest.approx(expected, rel=1e-12, nan_ok=True)
        assert nonzero_fraction(tokens, mask).tolist() == pytest.approx([np.mean(x != 0) for x in real])
    same = draw(1, 1, 5).expand(1, 6, 5)
    assert token_similarity(same, None).item() == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_tiny_and_huge_tokens_stay_finite(dtype: torch.dtype) -> None:
    x = draw(2, 6, 4).to(dtype)
    x[0, 2] = 0
    x[1, :] = 0
    scaled = x.clone()
    scaled[:, 0] *= 1e-30
    scaled[:, 1] *= 1e30
    values, big = x.view(2, 1, 6, 4), scaled.view(2, 1, 6, 4)
    for measure in (stream_rate, token_similarity, nonzero_fraction):
        assert measure(x, None).isfinite().all()
    for measure in (stream_rate, token_similarity):
        torch.testing.assert_close(measure(scaled, None), measure(x, None))
    torch.testing.assert_close(subspace_rate(big, None), subspace_rate(values, None))
    expected = [naive.subspace_rate(sample.double().numpy()) for sample in values]
    assert subspace_rate(values, None).tolist() == pytest.approx(expected, rel=1e-5)
    lengths = torch.linalg.vector_norm(unit(scaled), dim=-1)
    assert lengths[0].tolist() == pytest.approx([1, 1, 0, 1, 1, 1])


def test_a_sample_that_is_not_finite_spoils_no_other() -> None:
    x = draw(2, 6, 4)
    clean = stream_rate(x, None)[1].item(), token_similarity(x, None)[1].item()
    x[0, 3, 1] = torch.nan
    assert stream_rate(x, None).isnan().tolist() == [True, False]
    assert (stream_rate(x, None)[1].item(), token_similarity(x, None)[1].item()) == clean
    values = x.view(2, 2, 6, 2)
    assert subspace_rate(values, None).isnan().tolist() == [True, False]


def test_padding_may_hold_anything(keep: Tensor) -> None:
    x = draw(3, 7, 4)
    dirty = x.masked_fill(~keep[:, :, None], torch.nan)
    for measure in (stream_rate, token_similarity, nonzero_fraction):
        assert torch.equal(measure(x, keep).nan_to_num(9), measure(dirty, keep).nan_to_num(9))
    matrix, allowed = softmax_matrix(keep, causal=False)
    dirty = matrix.masked_fill(~keep[:, None, :, None], torch.nan)
    for good, bad in zip(
        attention_entropy(matrix, allowed, keep), attention_entropy(dirty, allowed, keep), strict=True
    ):
        assert torch.equal(good.nan_to_num(9), bad.nan_to_num(9))


def test_noise_has_its_level_and_depends_on_sample_token_layer_and_seed_alone() -> None:
    x, ids = 3.0 * draw(4, 50, 40), torch.tensor([5, 9, 2, 7])
    noise = stream_noise(x, None, ids=ids, seed=0, layer=1, level=0.1)
    ratio = noise.square().mean(dim=(1, 2)).sqrt() / x.square().mean(dim=(1, 2)).sqrt()
    assert ratio.tolist() == pytest.approx([0.1] * 4, rel=0.05)
    again = stream_noise(x[2:3], None, ids=ids[2:3], seed=0, layer=1, level=0.1)
    assert torch.equal(noise[2:3], again)
    padded = torch.cat([x, 1e9 * torch.ones(4, 3, 40)], dim=1)
    keep = (torch.arange(53) < 50).expand(4, 53)
    more = stream_noise(padded, keep, ids=ids, seed=0, layer=1, level=0.1)
    torch.testing.assert_close(more[:, :50], noise, rtol=1e-12, atol=0)
    assert (more[:, 50:] == 0).all()
    neighbours = stream_noise(x, None, ids=torch.tensor([5, 6, 7, 8]), seed=0, layer=1, level=0.1)
    assert not torch.allclose(neighbours[0, 1:].sign(), neighbours[1, :-1].sign())
    others = (
        stream_noise(x, None, ids=ids, seed=1, layer=1, level=0.1),
        stream_noise(x, None, ids=ids, seed=0, layer=2, level=0.1),
        noise.roll(1, 0),
    )
    for other in (*others, noise.roll(1, 1)):
        correlation = torch.corrcoef(torch.stack([noise.flatten(), other.flatten()]))[0, 1]
        assert abs(correlation) < 0.05


def test_gain_of_blocks_whose_gain_is_known() -> None:
    x = draw(3, 6, 4)
    noise = 0.1 * draw(3, 6, 4, seed=1)

    def gain(clean: Tensor, noisy: Tensor) -> list[float]:
        return snr_gain(x, noise, clean=clean, noisy=noisy, keep=None).tolist()

    assert gain(5 * x, 5 * (x + noise)) == pytest.approx([0.0] * 3, abs=1e-9)
    assert gain(x, x + noise / 10) == pytest.approx([20.0] * 3)
    assert gain(x, x + noise * 10) == pytest.approx([-20.0] * 3)
    for clean, noisy in ((x, x), (0 * x, noise), (0 * x, 0 * x)):
        assert all(math.isnan(value) for value in gain(clean, noisy))
