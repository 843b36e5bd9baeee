"""HotFlip compared with the enumeration of every swap."""

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustbench_wb.models.batching import trim_padding
from robustbench_wb.models.word_embeddings import WordEmbeddings
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.model_access import predict
from robustbench_wb.stressors.text_attacks.word_attack import TextSearch, single_token_words
from robustbench_wb.tasks.task import Dataset
from tests.known import known
from tests.stressors.attacked_batch import AttackedBatch

MakeBatch = Callable[..., AttackedBatch]


def all_swaps(batch: AttackedBatch, row: int) -> list[str]:
    """Every text with one word replaced by a word of the lexicon, written out."""
    words, found = batch.texts[row].split(), []
    for place, old in enumerate(words):
        if old.isalpha():
            found += [
                " ".join([*words[:place], new, *words[place + 1 :]])
                for new in known(batch.text).lexicon.words
                if new != old
            ]
    return found


def ask(batch: AttackedBatch, texts: list[str]) -> Tensor:
    return predict(batch.access.model, torch.from_numpy(known(batch.text).tokenizer.encode(texts, 32)).long(), 256)


@pytest.mark.slow(1)
@pytest.mark.parametrize(("kind", "candidates"), [("bag", 40), ("encoder", 5000)])
def test_the_first_swap_is_the_best_of_all(
    kind: str, candidates: int, request: pytest.FixtureRequest, batch_of: MakeBatch
) -> None:
    """On a bag of words, scores order the words of a position correctly: the best of each position is enough."""
    batch = batch_of(request.getfixturevalue(kind), 3)
    perturbed = parse_stressor(f"hotflip;budget=1;candidates={candidates}").apply(batch, batch.access)
    for row in range(3):
        swaps = all_swaps(batch, row)
        logits = ask(batch, swaps)
        every = F.cross_entropy(logits, batch.labels[row].expand(len(swaps)), reduction="none")
        assert float(every[swaps.index(known(perturbed.texts)[row])]) == pytest.approx(float(every.max()), abs=1e-5)
        assert known(perturbed.broken)[row] == bool((logits.argmax(1) != batch.labels[row]).any())


@pytest.mark.slow(2)
def test_the_highest_first_order_score_is_that_of_the_formula(
    encoder: nn.Module, batch_of: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All scores as directional derivatives, by central differences in float64."""
    proposed: list[list[str]] = []
    improve = TextSearch.improve

    def watched(search: TextSearch, rows: Sequence[int], candidates: Sequence[Sequence[str]]) -> dict[int, int]:
        assert [*rows] == [0, 1]
        proposed.extend([*texts] for texts in candidates)
        return improve(search, rows, candidates)

    monkeypatch.setattr(TextSearch, "improve", watched)
    batch = batch_of(encoder.double(), 2)
    try:
        table, (words, ids) = WordEmbeddings(encoder), single_token_words(batch)
        parse_stressor("hotflip;budget=1;candidates=1").apply(batch, batch.access)
        assert len(proposed) == 2
        for row in range(2):
            tokens, split = trim_padding(batch.inputs[row : row + 1]), batch.texts[row].split()
            vectors = table.vectors(tokens)
            places = [at for at, word in enumerate(split) if word.isalpha()]
            change = torch.zeros(len(places), len(words), *vectors.shape[1:], dtype=torch.float64)
            for i, place in enumerate(places):
                for j, index in enumerate(ids):
                    change[i, j, place + 1] = table.vectors(torch.tensor(index)) - vectors[0, place + 1]
            flat = change.flatten(0, 1)
            label = batch.labels[row].expand(len(flat))
            up, down = (
                F.cross_entropy(table.logits(tokens.expand(len(flat), -1), vectors + h * flat), label, reduction="none")
                for h in (1e-5, -1e-5)
            )
            scores = (up - down).view(len(places), len(words))
            for i, place in enumerate(places):
                scores[i, words.index(split[place])] = -torch.inf
            place, word = divmod(int(scores.argmax()), len(words))
            expected = [*split[: places[place]], words[word], *split[places[place] + 1 :]]
            assert proposed[row] == [" ".join(expected)]
    finally:
        encoder.float()


def test_words_of_one_token_are_all_words_of_the_task(batch_of: MakeBatch, bag: nn.Module, sentences: Dataset) -> None:
    batch = batch_of(bag, 1)
    words, ids = single_token_words(batch)
    assert set(words) == {word for text in sentences.train.texts for word in text.split() if word.isalpha()}
    for word, index in zip(words, ids, strict=True):
        assert known(sentences.tokenizer).encode([f"x {word}"], 8)[0].tolist().count(index) == 1
    assert sentences.lexicon.words[0] == "the"


def test_no_place_is_swapped_twice(encoder: nn.Module, batch_of: MakeBatch) -> None:
    batch = batch_of(encoder, 30)
    for budget in (1, 2, 3):
        perturbed = parse_stressor(f"hotflip;budget={budget};candidates=4").apply(batch, batch.access)
        for row, (before, after) in enumerate(zip(batch.texts, known(perturbed.texts), strict=True)):
            changed = sum(a != b for a, b in zip(before.split(), after.split(), strict=True))
            assert changed == perturbed.backwards[row] or not known(perturbed.broken)[row]
