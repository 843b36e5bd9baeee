"""Properties of every text attack: its budget, its independence of batches, and the results that the engine rejects."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustbench_wb.engine.batch import BatchSize
from robustbench_wb.engine.measure import LadderStep, measure
from robustbench_wb.engine.task_samples import MeasuredModel, TaskSamples
from robustbench_wb.errors import MeasurementError
from robustbench_wb.records.record import Identity, State
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.model_access import ModelAccess, predict
from robustbench_wb.stressors.model_free import ModelFreeStressor
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch, TextSide
from robustbench_wb.stressors.text_attacks.characters import CharacterEdits, one_edit_apart
from robustbench_wb.stressors.text_attacks.substitution import RandomSwap
from robustbench_wb.stressors.text_attacks.word_attack import WordAttack, changed_words, replace_words
from robustbench_wb.stressors.training_contamination import TrainingContamination
from robustbench_wb.tasks.lexicon import find_words
from robustbench_wb.tasks.task import Dataset
from tests.known import a, known
from tests.stressors.attacked_batch import AttackedBatch, perturb

MakeBatch = Callable[..., AttackedBatch]
WORDS = [
    "hotflip;budget=2;candidates=6",
    "random-flip;budget=2;draws=3",
    "word-substitution;rate=1/4;queries=20;candidates=4",
    "character-edits;rate=1/4;queries=20;candidates=4",
    "random-swap;rate=1/4;draws=3",
]
VECTORS = [
    "embedding-fgsm-linf;eps=1/8",
    "embedding-fgsm-l2;eps=1",
    "embedding-pgd-linf;eps=1/8;steps=4",
    "embedding-pgd-l2;eps=1;steps=4",
]


@pytest.mark.slow(1)
@pytest.mark.parametrize("signature", WORDS + VECTORS)
def test_batch_size_and_order_change_no_state(signature: str, encoder: nn.Module, batch_of: MakeBatch) -> None:
    attack = parse_stressor(signature)
    whole = perturb(attack, batch_of(encoder))
    assert known(whole.broken).sum() > 0
    for batch_size in (1, 7):
        again = perturb(attack, batch_of(encoder, batch_size=batch_size))
        np.testing.assert_array_equal(again.broken, whole.broken)
        np.testing.assert_array_equal(again.forwards, whole.forwards)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    shuffled = perturb(attack, batch_of(encoder, order=order, batch_size=7))
    np.testing.assert_array_equal(shuffled.broken, known(whole.broken)[order])
    if whole.texts is not None:
        assert list(known(shuffled.texts)) == [whole.texts[row] for row in order]
    alone = perturb(attack, batch_of(encoder, 10))
    np.testing.assert_array_equal(alone.broken, known(whole.broken)[:10])


@pytest.mark.parametrize("signature", WORDS)
def test_budgets_hold_and_what_is_broken_is_broken_as_a_text(
    signature: str, encoder: nn.Module, batch_of: MakeBatch, sentences: Dataset
) -> None:
    attack, batch = parse_stressor(signature), batch_of(encoder)
    perturbed = attack.apply(batch, batch.access)
    attack.verify(batch, perturbed, batch.access)
    lexicon = set(sentences.lexicon.words)
    for before, after in zip(batch.texts, known(perturbed.texts), strict=True):
        words = before.split()
        changed = [(a, b) for a, b in zip(words, after.split(), strict=True) if a != b]
        letters = sum(word.isalpha() for word in words)
        assert len(changed) <= (2 if "budget" in signature else max(1, letters // 4))
        assert all(a.isalpha() for a, _ in changed)
        if "character" not in signature:
            assert {b for _, b in changed} <= lexicon
    ids = torch.from_numpy(known(sentences.tokenizer).encode(known(perturbed.texts), 32)).long()
    assert torch.equal(ids, perturbed.inputs)
    np.testing.assert_array_equal(perturbed.broken, (predict(encoder, ids, 9).argmax(1) != batch.labels).numpy())
    most = {"hotflip": 14, "random-flip": 3, "word-substitution": 20, "character-edits": 20, "random-swap": 3}
    assert perturbed.forwards.max() <= most[attack.name]
    # A black-box attack continues until its queries are used up.
    if "queries" in signature and not known(perturbed.broken).all():
        assert perturbed.forwards[~known(perturbed.broken)].min() > 14
    assert (perturbed.backwards > 0).any() == (attack.name == "hotflip")


@pytest.mark.parametrize("queries", [3, 4, 11])
@pytest.mark.parametrize("name", ["word-substitution", "character-edits"])
def test_queries_are_passes_that_really_happen(
    name: str, queries: int, encoder: nn.Module, batch_of: MakeBatch
) -> None:
    seen = 0

    def count(module: nn.Module, given: Any) -> None:
        nonlocal seen
        seen += len(given[0])

    attack, batch = parse_stressor(f"{name};rate=1;queries={queries}"), batch_of(encoder)
    hook = encoder.register_forward_pre_hook(count)
    try:
        perturbed = attack.apply(batch, batch.access)
    finally:
        hook.remove()
    assert perturbed.forwards.sum() == seen
    assert perturbed.forwards.max() <= queries


@pytest.mark.parametrize("signature", [*WORDS[:1], *VECTORS])
def test_counters_are_passes_that_really_happen(signature: str, encoder: nn.Module, batch_of: MakeBatch) -> None:
    batch = batch_of(encoder, batch_size=16)
    passes: list[tuple[int, bool]] = []
    hook = encoder.register_forward_pre_hook(
        lambda module, given: passes.append((len(given[0]), torch.is_grad_enabled()))
    )
    try:
        perturbed = parse_stressor(signature).apply(batch, batch.access)
    finally:
        hook.remove()
    assert perturbed.forwards.sum() == sum(count for count, _ in passes)
    assert perturbed.backwards.sum() == sum(count for count, gradient in passes if gradient)


@pytest.mark.parametrize("signature", WORDS)
def test_more_budget_only_adds_broken_samples(signature: str, bag: nn.Module, sentences: Dataset) -> None:
    attack = parse_stressor(signature)
    states = None
    broken = []
    for strength in ("1", "3") if attack.axis == "budget" else ("1/10", "1/2"):
        record = measured(attack.at(strength), bag, sentences, before=states)
        states = record.states
        broken.append(set(np.flatnonzero(states == State.BROKEN)))
    assert broken[0] <= broken[1]


def text_side(sentences: Dataset, count: int) -> TextSide:
    texts = sentences.test.texts[:count]
    return TextSide(tokenizer=known(sentences.tokenizer), texts=texts, lexicon=sentences.lexicon)


def measured(stressor: Any, model: nn.Module, sentences: Dataset, before: Any = None, count: int = 30) -> Any:
    inputs = np.asarray(sentences.test.inputs[:count])
    labels = predict(model, torch.tensor(inputs).long(), 64).argmax(1).numpy()
    samples = TaskSamples(
        ids=np.arange(count, dtype=np.int32), inputs=inputs, labels=labels, text=text_side(sentences, count),
    )  # fmt: skip
    fields = dict.fromkeys(("stressor_code", "data", "samples", "weights", "model_code", "numerics"), "x")
    identity = Identity(signature=stressor.signature, ladder=(), seed=0, **fields)
    before = np.full(count, State.ROBUST, np.int8) if before is None else before
    measured_model = MeasuredModel(model=model, batch=BatchSize(16), device=torch.device("cpu"))
    step = LadderStep(rungs=(stressor,), identities=(identity,))
    return measure(step, measured_model, samples, before=before, advance=lambda count: None)[0]


class Tampered(RandomSwap):
    """Attack whose correct result is changed afterwards."""

    name = "tampered"
    how: str

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        perturbed = super().apply(batch, access)
        texts = list(known(perturbed.texts))
        inputs = perturbed.inputs
        if self.how == "too many":
            texts[0] = " ".join("film" if word.isalpha() else word for word in batch.texts[0].split())
        elif self.how == "punctuation":
            texts[0] = f"{batch.texts[0]} !"
        elif self.how == "another word":
            texts[0] = replace_words(batch.texts[0], {0: "zebra"})
        elif self.how == "missing":
            texts = texts[1:]
        if self.how == "ids":
            inputs = inputs.flip(1)
        elif len(texts) == len(batch.texts):
            inputs = torch.from_numpy(known(batch.text).tokenizer.encode(texts, 32)).long()
        return dataclasses.replace(perturbed, inputs=inputs, texts=texts)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("too many", "changed .* of .* words"),
        ("punctuation", "changed characters between the words"),
        ("another word", "may not replace '.*' by 'zebra'"),
        ("missing", "no text for some samples"),
        ("ids", "do not belong to its texts"),
    ],
)
def test_a_buggy_attack_is_refused(how: str, words: str, bag: nn.Module, sentences: Dataset) -> None:
    with pytest.raises(MeasurementError, match=words):
        measured(Tampered(rate="1/10", how=how), bag, sentences)
    assert measured(Tampered(rate="1/10", how="not at all"), bag, sentences).count(State.ERRORED) == 0


def test_a_misspelling_of_two_edits_is_refused(
    bag: nn.Module, sentences: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = CharacterEdits(rate="1")
    assert measured(attack, bag, sentences).count(State.BROKEN)
    monkeypatch.setattr(CharacterEdits, "candidate_words", lambda self, batch, word, numbers: [f"{word}xx"])
    with pytest.raises(MeasurementError, match=r"may not replace '.*' by '.*xx'"):
        measured(attack, bag, sentences)


@pytest.mark.parametrize("signature", WORDS + VECTORS)
def test_answers_that_are_not_finite_are_errors(signature: str, bag: nn.Module, sentences: Dataset) -> None:
    class Flaky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = bag

        def get_input_embeddings(self) -> nn.Module:
            return a(nn.Module, self.inner.table)

        def forward(self, tokens: Tensor) -> Tensor:
            logits = self.inner(tokens)
            return torch.where((tokens == tokens[:, 1:2]).sum(1, keepdim=True) > 0, logits * torch.nan, logits)

    inputs = np.asarray(sentences.test.inputs[:5])
    samples = TaskSamples(
        ids=np.arange(5, dtype=np.int32), inputs=inputs, labels=np.zeros(5, np.int64), text=text_side(sentences, 5),
    )  # fmt: skip
    fields = dict.fromkeys(("stressor_code", "data", "samples", "weights", "model_code", "numerics"), "x")
    identity = Identity(signature=signature, ladder=(), seed=0, **fields)
    alive = np.full(5, State.ROBUST, np.int8)
    measured_model = MeasuredModel(model=Flaky(), batch=BatchSize(16), device=torch.device("cpu"))
    step = LadderStep(rungs=(parse_stressor(signature),), identities=(identity,))
    (record,) = measure(step, measured_model, samples, before=alive, advance=lambda n: None)
    assert record.count(State.ERRORED) == 5


@pytest.mark.parametrize("signature", WORDS + VECTORS)
def test_no_samples_no_work(signature: str, bag: nn.Module, batch_of: MakeBatch) -> None:
    perturbed = perturb(parse_stressor(signature), batch_of(bag, 0))
    assert perturbed.inputs.shape == (0, 32)


@pytest.mark.parametrize("signature", WORDS)
def test_a_text_without_words_is_left_alone(
    signature: str, bag: nn.Module, batch_of: MakeBatch, sentences: Dataset
) -> None:
    texts = ["", ".", "the", "a"]
    batch = batch_of(bag, 4, texts=texts)
    attack = parse_stressor(signature)
    perturbed = attack.apply(batch, batch.access)
    attack.verify(batch, perturbed, batch.access)
    assert list(known(perturbed.texts)[:2]) == ["", "."]
    assert not known(perturbed.broken)[:2].any()


def test_what_the_model_does_not_see_is_not_changed(bag: nn.Module, batch_of: MakeBatch, sentences: Dataset) -> None:
    """A text longer than the limit is attacked only where the model sees it; the rest stays."""
    long = " ".join(["the film was good ,"] * 20)
    batch = batch_of(bag, 1, texts=[long])
    for signature in WORDS:
        attack = parse_stressor(signature)
        perturbed = attack.apply(batch, batch.access)
        attack.verify(batch, perturbed, batch.access)
        assert len(known(changed_words(long, known(perturbed.texts)[0]))) <= 6
        # 30 tokens between the first and the last: six clauses of five.
        assert known(perturbed.texts)[0].split()[30:] == long.split()[30:]


@given(st.text(max_size=40), st.dictionaries(st.integers(0, 5), st.sampled_from(["a", "Ärger", "слово"])))
@settings(max_examples=60, deadline=None)
def test_replaced_words_are_the_changed_ones(text: str, words: dict[int, str]) -> None:
    old = [text[slice(*span)] for span in find_words(text)]
    new = replace_words(text, words)
    assert [new[slice(*span)] for span in find_words(new)] == [words.get(at, word) for at, word in enumerate(old)]
    assert changed_words(text, new) == [(a, words[at]) for at, a in enumerate(old) if at in words and words[at] != a]
    assert replace_words(new, dict(enumerate(old))) == text


LETTERS = st.text("abc", min_size=0, max_size=5)


@given(LETTERS, LETTERS)
@settings(max_examples=300, deadline=None)
def test_one_edit_apart_agrees_with_all_edits_written_out(a: str, b: str) -> None:
    forms = {a[:i] + x + a[i:] for i in range(len(a) + 1) for x in "abc"}
    forms |= {a[:i] + a[i + 1 :] for i in range(len(a))}
    forms |= {a[:i] + x + a[i + 1 :] for i in range(len(a)) for x in "abc"}
    forms |= {a[:i] + a[i + 1] + a[i] + a[i + 2 :] for i in range(len(a) - 1)}
    assert one_edit_apart(a, b) == (b in forms and a != b)


@given(st.text("abcdef", min_size=1, max_size=6), st.lists(st.integers(0, (1 << 63) - 1), min_size=4, max_size=12))
@settings(max_examples=100, deadline=None)
def test_misspelt_forms_are_one_edit_away(word: str, numbers: list[int]) -> None:
    batch = SampleBatch(inputs=torch.empty(0), labels=torch.empty(0), ids=torch.empty(0), seed=0)
    forms = CharacterEdits(rate="1").candidate_words(batch, word, numbers)
    assert all(form == word or one_edit_apart(word, form) for form in forms)
    assert all(find_words(form) == [(0, len(form))] for form in forms)
    assert len(forms) <= len(numbers)


def test_every_word_attack_is_tested_here() -> None:
    from robustbench_wb.stressors.catalogue import STRESSORS

    kinds = {entry.name: STRESSORS.get(entry.name) for entry in STRESSORS}
    texts = {
        name
        for name, kind in kinds.items()
        if kind.modality in ("text", "labelled") and not issubclass(kind, ModelFreeStressor | TrainingContamination)
    }
    assert texts == {signature.split(";")[0] for signature in WORDS + VECTORS}
    assert {signature.split(";")[0] for signature in WORDS} == {
        n for n, k in kinds.items() if issubclass(k, WordAttack)
    }
