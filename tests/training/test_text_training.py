"""Training on token ids: batches by length, hidden words, next tokens, and a run that was stopped."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from robustbench_wb.models.batching import batches, text_lengths, to_inputs, trim_padding
from robustbench_wb.stressors.model_access import predict
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.task import Split
from robustbench_wb.tasks.task_tokenizer import MASK, SPECIAL
from robustbench_wb.training import train_or_load
from robustbench_wb.training.language_loss import next_token_losses
from robustbench_wb.training.loop import POOL, TrainingData, mask_words, train
from robustbench_wb.training.recipe import Recipe
from tests.training.small_runs import run


def ragged(sizes: list[int], length: int = 40, seed: int = 0) -> Tensor:
    """Token ids with these numbers of real tokens."""
    tokens = torch.randint(5, 90, (len(sizes), length), generator=torch.Generator().manual_seed(seed))
    return torch.where(torch.arange(length) < torch.tensor(sizes)[:, None], tokens, 0)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=300), st.integers(1, 9), st.integers(0, 3))
def test_an_epoch_holds_every_sample_once(sizes: list[int], batch: int, epoch: int) -> None:
    data = TrainingData(ragged(sizes).int(), torch.zeros(len(sizes), dtype=torch.int64))
    recipe = Recipe(epochs=1, batch=batch)
    order = data.order(recipe, 0, epoch)
    assert sorted(order.tolist()) == list(range(len(sizes)))
    assert torch.equal(order, data.order(recipe, 0, epoch))


def test_texts_of_like_length_stand_together_in_an_order_that_changes() -> None:
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 41, 1000).tolist()
    data = TrainingData(ragged(sizes).int(), torch.zeros(1000, dtype=torch.int64))
    recipe = Recipe(epochs=2, batch=10)
    padded = {}
    for name, order in (("bucketed", data.order(recipe, 0, 0)), ("random", torch.arange(1000))):
        longest = [max(sizes[i] for i in part.tolist()) for part in order.split(10)]
        padded[name] = 10 * sum(longest) / sum(sizes) - 1
    assert padded["random"] > 0.5
    assert padded["bucketed"] < 0.1
    first = [max(sizes[i] for i in part.tolist()) for part in data.order(recipe, 0, 0).split(10)]
    assert np.abs(np.corrcoef(first[:POOL], range(POOL))[0, 1]) < 0.6  # batches are shuffled, not sorted
    assert not torch.equal(data.order(recipe, 0, 0), data.order(recipe, 0, 1))
    assert not torch.equal(data.order(recipe, 0, 0), data.order(recipe, 1, 0))


def test_hidden_words_are_counted_and_special_tokens_stay() -> None:
    tokens = ragged([40] * 200, seed=1)
    tokens[:, 0] = 2
    ids = torch.arange(200)
    recipe = Recipe(epochs=1, masked=0.3)
    hidden = mask_words(tokens, ids, recipe=recipe, seed=0, epoch=0)
    changed = hidden != tokens
    assert (hidden[changed] == MASK).all()
    assert (hidden[:, 0] == 2).all()
    assert float(changed[:, 1:].float().mean()) == pytest.approx(0.3, abs=0.02)
    part = torch.tensor([7, 150])
    assert torch.equal(mask_words(tokens[part, :20], part, recipe=recipe, seed=0, epoch=0), hidden[part, :20])
    assert not torch.equal(mask_words(tokens, ids, recipe=recipe, seed=0, epoch=1), hidden)
    assert torch.equal(mask_words(tokens, ids, recipe=Recipe(epochs=1), seed=0, epoch=0), tokens)
    assert len(SPECIAL) == MASK + 1


def test_next_tokens_are_scored_by_hand() -> None:
    logits = torch.randn(2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[5, 1, 2, 3], [4, 4, 1, 5]])
    got = next_token_losses(logits, tokens)
    for row in range(2):
        want = 0.0
        for t in range(3):
            exps = [math.exp(v) for v in logits[row, t].tolist()]
            want -= math.log(exps[int(tokens[row, t + 1])] / sum(exps))
        assert float(got[row]) == pytest.approx(want / 3, abs=1e-12)


class Sum(nn.Module):
    """Logits that tell apart every token, and what width the batch had."""

    def forward(self, tokens: Tensor) -> Tensor:
        self.widths = [*getattr(self, "widths", []), tokens.shape[1]]
        return torch.stack([tokens.sum(1), tokens[:, 0]], dim=1).float()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=50), st.integers(1, 7))
def test_predictions_come_in_the_order_asked_for(sizes: list[int], batch: int) -> None:
    tokens, model = ragged(sizes), Sum()
    got = predict(model, tokens, batch)
    assert torch.equal(got[:, 0], tokens.sum(1).float())
    assert torch.equal(got[:, 1], tokens[:, 0].float())
    assert model.widths == sorted(model.widths, reverse=True)
    assert model.widths[0] == max(sizes)
    assert sum(len(part) for _, part in batches(tokens, batch)) == len(sizes)


def test_inputs_are_what_models_take() -> None:
    assert to_inputs(np.array([[0, 255]], np.uint8), "cpu").tolist() == [[0.0, 1.0]]
    ids = to_inputs(np.array([[3, 0]], np.int32), "cpu")
    assert ids.dtype == torch.int64
    assert text_lengths(ids).tolist() == [1]
    assert trim_padding(ids).tolist() == [[3]]
    assert trim_padding(torch.zeros(2, 5, dtype=torch.int64)).shape == (2, 1)
    assert trim_padding(torch.zeros(0, 5, dtype=torch.int64)).shape == (0, 1)


class StoppedError(Exception):
    pass


class Bag(nn.Module):
    """A bag of words, or with ``every`` an answer at every token."""

    def __init__(self, every: bool) -> None:
        super().__init__()
        self.every = every
        self.words, self.out = nn.Embedding(500, 8), nn.Linear(8, 500 if every else 2)

    def forward(self, tokens: Tensor) -> Tensor:
        found = self.words(tokens)
        return self.out(found if self.every else found.mean(1))


@pytest.mark.parametrize("task", ["sentences", "sentences-lm"])
def test_a_stopped_run_ends_as_an_unbroken_one(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = find_task(task).load(None).train
    split = Split(inputs=np.asarray(whole.inputs[:120]), labels=whole.labels[:120])
    recipe = Recipe(epochs=3, batch=16, masked=0.2)

    def make() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Bag(every=task.endswith("lm"))

    unbroken = run(make, split=split, recipe=recipe)
    assert unbroken.fresh
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "other"))
    monkeypatch.setattr("robustbench_wb.training.loop.SNAPSHOT_SECONDS", 0.0)
    took: list[int] = []

    def stopping(*given: Any, **options: Any) -> float:
        def advance(count: int) -> None:
            took.append(count)
            if len(took) == 13:
                raise StoppedError

        return train(*given, **(options | {"advance": advance}))

    with monkeypatch.context() as patch:
        patch.setattr(train_or_load, "train", stopping)
        with pytest.raises(StoppedError):
            run(make, split=split, recipe=recipe)
    assert run(make, split=split, recipe=recipe).weights == unbroken.weights
