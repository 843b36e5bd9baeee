"""The black-box attack of the probe, on a bag of words, where the exact worst case is known."""

from collections.abc import Callable
from fractions import Fraction

import torch
from torch import nn

from robustbench_wb.engine.credibility.word_walk import word_walk
from robustbench_wb.stressors.text_attacks.embedding import EmbeddingPgdLinf
from tests.stressors.attacked_batch import AttackedBatch

MakeBatch = Callable[..., AttackedBatch]


def test_it_breaks_nothing_that_the_exact_attack_does_not(bag: nn.Module, batch_of: MakeBatch) -> None:
    """The loss of a bag is monotone in a linear function of the vectors: PGD ends at its maximum in the ball."""
    batch, fell = batch_of(bag, 40), []
    for eps in ("1/100", "1/20", "1/5", "2"):
        exact = EmbeddingPgdLinf(eps=Fraction(eps), steps=20).apply(batch, batch.access).broken
        walked = word_walk(batch, batch.access, eps=float(Fraction(eps)), queries=200)
        assert exact is not None
        assert not (walked.numpy() & ~exact).any()
        fell.append(int(walked.sum()))
    assert fell == sorted(fell)
    assert fell[0] < fell[-1] == 40


def test_neither_batch_nor_order_matters(encoder: nn.Module, batch_of: MakeBatch) -> None:
    batch = batch_of(encoder, 24)
    whole = word_walk(batch, batch.access, eps=0.5, queries=30)
    assert 0 < int(whole.sum()) < 24
    small = batch.in_batches_of(5)
    assert torch.equal(word_walk(small, small.access, eps=0.5, queries=30), whole)
    back = torch.arange(23, -1, -1)
    turned = batch_of(encoder, order=back)
    assert torch.equal(word_walk(turned, turned.access, eps=0.5, queries=30), whole[back])
