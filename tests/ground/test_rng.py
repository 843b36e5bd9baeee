"""Counter-based random numbers: equal to SplitMix64 in Python integers, independent of batching, and distributions."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from robustbench_wb import rng

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
KINDS = {"uniform": rng.uniform, "normal": rng.normal, "signs": rng.signs, "normal16": rng.normal16}


def mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def signed(number: int) -> int:
    """The lower 64 bits as torch holds them: in two's complement."""
    number &= MASK
    return number - 2**64 if number >= 2**63 else number


def word(sample: int, j: int, seed: int, label: str, step: int) -> int:
    key = int.from_bytes(hashlib.sha256(f"{seed}\x1f{label}\x1f{step}".encode()).digest()[:8], "little")
    base = mix(mix((sample * GOLDEN + key) & MASK))
    return mix((base + (j + 1) * GOLDEN) & MASK)


def test_splitmix64_is_the_published_one() -> None:
    # The first outputs of the reference generator (Vigna's splitmix64.c) from seed 0.
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    z = torch.tensor([signed(i * GOLDEN) for i in (1, 2, 3)])
    assert [value & MASK for value in rng.mix(z).tolist()] == published


@given(
    ids=st.lists(st.integers(0, 2**62), min_size=1, max_size=4),
    seed=st.integers(-(2**40), 2**40),
    label=st.text(max_size=8),
    step=st.integers(0, 1000),
)
@settings(max_examples=50, deadline=None)
def test_words_are_those_of_plain_integers(ids: list[int], seed: int, label: str, step: int) -> None:
    got = rng.words(torch.tensor(ids), 3, seed=seed, label=label, step=step)
    assert [[v & MASK for v in row] for row in got.tolist()] == [
        [word(i, j, seed=seed, label=label, step=step) for j in range(3)] for i in ids
    ]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_splitting_and_shuffling_a_batch_changes_nothing(kind: str, data: st.DataObject) -> None:
    draw = KINDS[kind]
    ids = torch.tensor(data.draw(st.lists(st.integers(0, 10**9), min_size=1, max_size=9)))
    cut = data.draw(st.integers(0, len(ids)))
    order = torch.tensor(data.draw(st.permutations(range(len(ids)))))
    whole = draw(ids, (2, 3), seed=7, label="noise", step=4)
    assert whole.dtype == torch.float32
    assert whole.shape == (len(ids), 2, 3)
    pieces = [draw(part, (2, 3), seed=7, label="noise", step=4) for part in (ids[:cut], ids[cut:])]
    assert torch.equal(torch.cat(pieces), whole)
    assert torch.equal(draw(ids[order], (2, 3), seed=7, label="noise", step=4), whole[order])


@pytest.mark.parametrize("kind", KINDS)
def test_rows_at_steps_of_their_own_are_those_of_each_step(kind: str) -> None:
    ids, steps = torch.tensor([3, 1, 3, 9]), torch.tensor([7, 0, 2, 7])
    found = KINDS[kind](ids, (2, 3), 5, "noise", steps)
    for row, (sample, step) in enumerate(zip(ids, steps.tolist(), strict=True)):
        assert torch.equal(found[row], KINDS[kind](sample[None], (2, 3), 5, "noise", step)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_the_name_counts(kind: str) -> None:
    draw, ids = KINDS[kind], torch.arange(4)
    streams = [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]
    rows = {tuple(draw(ids, (5,), *stream).flatten().tolist()) for stream in streams}
    assert len(rows) == len(streams)
    assert len({tuple(row) for row in draw(ids, (5,), seed=0, label="a").tolist()}) == 4


def test_uniform_has_its_law() -> None:
    u = rng.uniform(torch.arange(1000), (50,), seed=0, label="law").double()
    assert u.min() >= 0
    assert u.max() < 1
    assert u.mean().item() == pytest.approx(0.5, abs=0.006)  # 5 standard errors are 0.0065
    assert u.var().item() == pytest.approx(1 / 12, abs=0.002)
    assert stats.kstest(u.flatten().numpy(), "uniform").pvalue > 1e-3
    assert abs(torch.corrcoef(u.T[:2])[0, 1]) < 0.15
    assert stats.kstest(u[:, 0].numpy(), "uniform").pvalue > 1e-3  # across samples, too


def test_normal_has_its_law() -> None:
    z = rng.normal(torch.arange(1000), (50,), seed=0, label="law").double()
    assert z.isfinite().all()
    assert z.mean().item() == pytest.approx(0.0, abs=0.022)
    assert z.var().item() == pytest.approx(1.0, abs=0.03)
    assert stats.skew(z.flatten().numpy()) == pytest.approx(0.0, abs=0.05)
    assert stats.kurtosis(z.flatten().numpy()) == pytest.approx(0.0, abs=0.1)
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(z[:, 0].numpy(), "norm").pvalue > 1e-3


def test_sixteen_bits_are_the_quarters_of_words() -> None:
    ids = torch.tensor([5, 0, 2**40])
    found = rng.uniform16(ids, (2, 5), seed=3, label="law", step=1)
    assert found.dtype == torch.int32
    for row, sample in zip(found.flatten(1).tolist(), ids.tolist(), strict=True):
        wholes = [word(sample, j, seed=3, label="law", step=1) for j in range(3)]
        assert row == [(whole >> shift) & 0xFFFF for whole in wholes for shift in (0, 16, 32, 48)][:10]


def test_sixteen_bits_have_their_law() -> None:
    codes = rng.uniform16(torch.arange(1000), (200,), seed=0, label="law").double()
    assert codes.min() >= 0
    assert codes.max() < rng.CODES
    centres = (codes + 0.5) / rng.CODES
    assert stats.kstest(centres.flatten().numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(centres[:, 0].numpy(), "uniform").pvalue > 1e-3  # across samples
    correlation = torch.corrcoef(centres.T[:8]) - torch.eye(8)  # the quarters of two words
    assert correlation.abs().max() < 4.5 / 1000**0.5
    lows = np.bincount((codes.long() & 255).flatten().numpy(), minlength=256)
    assert stats.chisquare(lows).pvalue > 1e-3


def test_normal_codes_are_the_quantiles() -> None:
    codes = rng.normal_codes().double().numpy()
    expected = stats.norm.ppf((np.arange(65536) + 0.5) / 65536)
    np.testing.assert_allclose(codes, expected, rtol=1e-6, atol=1e-7)
    assert codes.mean() == pytest.approx(0, abs=1e-9)
    assert (codes**2).mean() == pytest.approx(0.99998, abs=1e-6)  # as stated in the docstring
    assert codes.max() == pytest.approx(4.325, abs=1e-3)
    steps = np.diff(codes)
    assert steps[np.abs(codes[1:]) < 1].max() < 1e-4
    assert steps.max() < 0.25


def test_normal_in_sixteen_bits_has_its_law() -> None:
    z = rng.normal16(torch.arange(1000), (200,), seed=0, label="law").double()
    assert z.mean().item() == pytest.approx(0.0, abs=0.011)
    assert z.var().item() == pytest.approx(1.0, abs=0.016)
    assert stats.kurtosis(z.flatten().numpy()) == pytest.approx(0.0, abs=0.055)
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(z[:, 0].numpy(), "norm").pvalue > 1e-3


def test_permutations_are_permutations_and_named() -> None:
    one, again, other = (rng.permutation(100, seed=0, label="order", step=step) for step in (0, 0, 1))
    assert sorted(one.tolist()) == list(range(100))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_the_global_generator_is_not_used() -> None:
    before = torch.get_rng_state()
    rng.normal(torch.arange(3), (2,), seed=0, label="x")
    rng.permutation(5, seed=0, label="x")
    assert torch.equal(torch.get_rng_state(), before)
