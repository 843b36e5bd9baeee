"""Attacks on word vectors: arithmetic in closed form, the ball, and the models that they can be run on."""

import dataclasses
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustbench_wb.errors import MeasurementError, SubjectError
from robustbench_wb.models.shape import PAD
from robustbench_wb.models.word_embeddings import WordEmbeddings
from robustbench_wb.stressors.attacks.attack_losses import cross_entropy
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.text_attacks.embedding import EmbeddingFgsmL2, EmbeddingPgdLinf, word_deviation
from robustbench_wb.stressors.token_ids import TokenIds
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.tasks.task_tokenizer import SPECIAL
from tests.known import known, parts
from tests.stressors.attacked_batch import AttackedBatch

MakeBatch = Callable[..., AttackedBatch]


def unit(model: nn.Module, sentences: Dataset) -> float:
    """Standard deviation of the table without special rows, written out."""
    table = parts(WordEmbeddings(model).module).weight[len(SPECIAL) :].double()
    return float(((table - table.mean()) ** 2).mean().sqrt())


def test_the_unit_is_the_deviation_of_the_words(bag: nn.Module, sentences: Dataset) -> None:
    tokenizer = known(sentences.tokenizer)
    ids = TokenIds(special=tokenizer.special, vocabulary=tokenizer.vocabulary, mask=None, unknown=None)
    found = word_deviation(WordEmbeddings(bag), ids, torch.device("cpu"))
    assert found == pytest.approx(unit(bag, sentences), rel=1e-9)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fgsm_on_a_linear_model_is_known_in_closed_form(
    norm: str, bag: nn.Module, batch_of: MakeBatch, sentences: Dataset
) -> None:
    """The loss rises with (W_other - W_label) . x equally for every word: its sign, or its direction, is the step."""
    batch = batch_of(bag, 12)
    perturbed = parse_stressor(f"embedding-fgsm-{norm};eps=1/20").apply(batch, batch.access)
    for row in range(12):
        label = int(batch.labels[row])
        up = parts(bag).head.weight[1 - label] - parts(bag).head.weight[label]
        step = up.sign() if norm == "linf" else up / up.norm()
        expected = WordEmbeddings(bag).vectors(batch.inputs[row])
        real = batch.inputs[row] >= len(SPECIAL)
        expected[real] += unit(bag, sentences) / 20 * step
        torch.testing.assert_close(known(perturbed.vectors)[row], expected, rtol=1e-5, atol=1e-6)


def test_gradients_agree_with_finite_differences(encoder: nn.Module, batch_of: MakeBatch) -> None:
    batch = batch_of(encoder.double(), 3)
    try:
        table = WordEmbeddings(encoder)
        vectors = table.vectors(batch.inputs)
        _, gradient = table.gradient(batch.inputs, vectors, partial(cross_entropy, labels=batch.labels))
        generator = torch.Generator().manual_seed(0)
        for _ in range(5):
            way = torch.randn(vectors.shape, generator=generator, dtype=torch.float64)
            ends = [
                F.cross_entropy(table.logits(batch.inputs, vectors + side * 1e-5 * way), batch.labels, reduction="none")
                for side in (1, -1)
            ]
            torch.testing.assert_close((ends[0] - ends[1]) / 2e-5, (gradient * way).sum((1, 2)), rtol=1e-5, atol=1e-8)
    finally:
        encoder.float()


def test_pgd_equals_a_loop_written_out(encoder: nn.Module, batch_of: MakeBatch, sentences: Dataset) -> None:
    batch, table = batch_of(encoder, 20), WordEmbeddings(encoder)
    attack = EmbeddingPgdLinf(eps="1/8", steps=5, step="1/4")
    perturbed = attack.apply(batch, batch.access)
    radius = unit(encoder, sentences) / 8
    for row in range(20):
        tokens, label = batch.inputs[row : row + 1], batch.labels[row : row + 1]
        clean, real = table.vectors(tokens), (tokens >= len(SPECIAL))[:, :, None]
        ids = batch.ids[row] * 32 + torch.arange(32)
        start = attack.start(clean[0], ids, seed=batch.seed, radius=radius)[None]
        current = torch.where(real, clean + (start - clean).clamp(-radius, radius), clean)
        for step in range(6):
            logits, gradient = table.gradient(tokens, current, partial(cross_entropy, labels=label))
            if int(logits.argmax()) != int(label) or step == 5:
                break
            moved = clean + (current + radius / 4 * gradient.sign() - clean).clamp(-radius, radius)
            current = torch.where(real, moved, clean)
        assert known(perturbed.broken)[row] == (int(logits.argmax()) != int(label))
        assert perturbed.forwards[row] == step + 1
        assert perturbed.backwards[row] == min(step + 1, 5)


@given(
    rows=st.lists(st.integers(0, 999), min_size=1, max_size=6, unique=True),
    eps=st.sampled_from(["1/100", "1/4", "2", "7"]),
    name=st.sampled_from(["fgsm-linf", "fgsm-l2", "pgd-linf", "pgd-l2"]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_words_stay_in_their_balls_and_nothing_else_moves(
    rows: list[int], eps: str, name: str, bag: nn.Module, batch_of: MakeBatch, sentences: Dataset
) -> None:
    steps = ";steps=3" if name.startswith("pgd") else ""
    attack, batch = parse_stressor(f"embedding-{name};eps={eps}{steps}"), batch_of(bag, order=torch.tensor(rows))
    perturbed = attack.apply(batch, batch.access)
    attack.verify(batch, perturbed, batch.access)
    change = known(perturbed.vectors) - WordEmbeddings(bag).vectors(batch.inputs)
    special = batch.inputs < len(SPECIAL)
    assert (batch.inputs[:, 0] == 2).all()
    assert not change[special].any()
    numerator, _, denominator = eps.partition("/")
    radius = unit(bag, sentences) * int(numerator) / int(denominator or 1)
    sizes = change.abs().amax(-1) if name.endswith("linf") else change.norm(dim=-1)
    assert float(sizes.max()) <= radius * (1 + 1e-4) + 1e-6
    assert float(sizes[~special].max()) > 0
    assert perturbed.inputs is batch.inputs or torch.equal(perturbed.inputs, batch.inputs)


class Escapes(EmbeddingFgsmL2):
    """Faulty attack that ignores its ball."""

    name = "escapes"

    def project(self, words: Tensor, moved: Tensor, radius: float) -> Tensor:
        return words + 1.01 * (moved - words)


def test_a_buggy_attack_is_refused(bag: nn.Module, batch_of: MakeBatch) -> None:
    batch, bad = batch_of(bag, 4), Escapes(eps="1/2")
    with pytest.raises(MeasurementError, match="left its ball"):
        bad.verify(batch, bad.apply(batch, batch.access), batch.access)
    good = EmbeddingFgsmL2(eps="1/2")
    perturbed = good.apply(batch, batch.access)
    good.verify(batch, perturbed, batch.access)
    moved = known(perturbed.vectors).clone()
    moved[0, 0, 0] += 1e-3
    with pytest.raises(MeasurementError, match="special tokens"):
        good.verify(batch, dataclasses.replace(perturbed, vectors=moved), batch.access)
    moved = known(perturbed.vectors).clone()
    moved[batch.inputs == PAD] += 1e-3
    with pytest.raises(MeasurementError, match="special tokens"):
        good.verify(batch, dataclasses.replace(perturbed, vectors=moved), batch.access)
    with pytest.raises(MeasurementError, match="not finite"):
        good.verify(batch, dataclasses.replace(perturbed, vectors=known(perturbed.vectors) * torch.nan), batch.access)
    with pytest.raises(MeasurementError, match="not token ids"):
        good.verify(batch, dataclasses.replace(perturbed, inputs=batch.inputs.flip(0)), batch.access)


def test_the_models_own_vectors_give_its_own_answers(encoder: nn.Module, bag: nn.Module, batch_of: MakeBatch) -> None:
    for model in (encoder, bag):
        tokens, table = batch_of(model, 8).inputs, WordEmbeddings(model)
        with torch.no_grad():
            torch.testing.assert_close(table.logits(tokens, table.vectors(tokens)), model(tokens), rtol=0, atol=0)
            assert not torch.equal(table.logits(tokens, table.vectors(tokens) + 1), model(tokens))
            # No hook stays behind.
            torch.testing.assert_close(model(tokens), model(tokens), rtol=0, atol=0)
        assert not table.module._forward_hooks


def test_models_without_word_vectors_are_refused(batch_of: MakeBatch) -> None:
    class NoTable(nn.Module):
        def forward(self, tokens: Tensor) -> Tensor:
            return F.one_hot((tokens.sum(1) % 2).long(), 2).float()

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(600, 2)

        def get_input_embeddings(self) -> nn.Module:
            return self.table

        def forward(self, tokens: Tensor) -> Tensor:
            return self.table(tokens).mean(1) + self.table(tokens[:, :1]).mean(1)

    for model, words in ((NoTable(), "has no word embedding layer"), (Twice(), "not .* in one call")):
        batch = batch_of(model, 4)
        for signature in ("embedding-fgsm-linf;eps=1", "hotflip;budget=1"):
            with pytest.raises(SubjectError, match=words):
                parse_stressor(signature).apply(batch, batch.access)
        black_box = parse_stressor("word-substitution;rate=1")
        black_box.verify(batch, black_box.apply(batch, batch.access), batch.access)
