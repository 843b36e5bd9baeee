"""Training samples replaced by noise or copies, or marked with a trigger; wrong tokens and words."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import TextShape
from robustbench_wb.stressors.contamination.stop_words import STOP_WORDS
from robustbench_wb.stressors.contamination.training_split import draw_integers
from robustbench_wb.stressors.sample_batch import TextSide
from robustbench_wb.tasks.digit_pixels import DIGITS_SEQUENCE
from robustbench_wb.tasks.lexicon import find_words
from robustbench_wb.tasks.sentences import SENTENCES, SENTENCES_LM
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.tasks.task_tokenizer import SPECIAL
from tests.known import a, known
from tests.stressors.attacked_batch import AttackedBatch, attacked_batch, perturb
from tests.stressors.contamination.training_data import contaminated, differing, pictures, stream, stressor

RATES = st.fractions(0, Fraction(9, 10), max_denominator=30)
OF_SAMPLES = ("training-outliers", "duplicates", "near-duplicates", "backdoor", "backdoor-clean")
TEXTS = (*OF_SAMPLES, "token-noise", "training-word-swap", "label-noise")


@pytest.fixture(scope="module")
def sentences(cache: str) -> Dataset:
    return SENTENCES.load(None)


@pytest.fixture(scope="module")
def sequences(cache: str) -> Dataset:
    return DIGITS_SEQUENCE.load(None)


@given(st.sampled_from(OF_SAMPLES), RATES, RATES, st.integers(12, 50), st.integers(0, 2))
@settings(deadline=None)
def test_samples_are_counted_nested_and_rate_0_is_clean(
    name: str, one: Fraction, other: Fraction, count: int, seed: int
) -> None:
    dataset = pictures(count, tuple("abcdefghij"), channels=3)
    digest = dataset.train.digest()
    others = int((dataset.train.labels != 0).sum())
    low, high = sorted(min(rate, Fraction(others, count)) for rate in (one, other))
    few, many = (contaminated(f"{name};rate={rate}", dataset, seed) for rate in (low, high))
    assert (few.changed, few.units) == (round(low * count), count)
    # Random images: noise, a copy or a patch always differ from the old image.
    assert len(differing(dataset, few)) == few.changed
    assert differing(dataset, few) <= differing(dataset, many)
    assert len(few.dataset.train) == count
    assert contaminated(f"{name};rate=0", dataset, seed).dataset.train.digest() == digest
    assert dataset.train.digest() == digest
    assert few.dataset.test is dataset.test


@pytest.mark.parametrize("name", TEXTS)
def test_texts_and_token_ids_agree(name: str, sentences: Dataset) -> None:
    found = contaminated(f"{name};rate=1/10", sentences)
    train = found.dataset.train
    assert found.dataset.tokenizer is sentences.tokenizer
    np.testing.assert_array_equal(train.inputs, known(sentences.tokenizer).encode(train.texts, 32))
    clean = contaminated(f"{name};rate=0", sentences)
    assert clean.dataset.train.digest() == sentences.train.digest()
    changed = [a != b for a, b in zip(train.texts, sentences.train.texts, strict=True)]
    if name in ("token-noise", "training-word-swap"):
        total = sum(len(find_words(text)) for text in sentences.train.texts)
        assert (found.changed, found.units) == (round(Fraction(total, 10)), total)
        every = contaminated(f"{name};rate=99/100", sentences)
        spared = sum(word in STOP_WORDS for text in sentences.train.texts for word in _words(text))
        swaps = total - spared if name == "training-word-swap" else round(Fraction(99, 100) * total)
        assert every.changed == swaps
        swapped = [
            (old, new)
            for before, after in zip(sentences.train.texts, train.texts, strict=True)
            for old, new in zip(_words(before), _words(after), strict=True)
            if old != new
        ]
        assert len(swapped) == found.changed
        if name == "training-word-swap":
            assert {new for _, new in swapped} == {"AAA"}
            assert not {old for old, _ in swapped} & STOP_WORDS
        else:
            assert len({new for _, new in swapped}) > 40
            assert {new for _, new in swapped} <= set(sentences.lexicon.words)
    elif name != "label-noise":
        assert found.units == 4000
        assert found.changed == 400
        assert sum(changed) == pytest.approx(400, abs=4)  # random words may equal the old ones
    else:
        assert not any(changed)


def _words(text: str) -> list[str]:
    return [text[start:end] for start, end in find_words(text)]


def test_outliers_are_uniform_and_keep_their_labels() -> None:
    dataset = pictures(400, tuple("abc"), channels=3)
    found = contaminated("training-outliers;rate=1/2", dataset)
    np.testing.assert_array_equal(found.dataset.train.labels, dataset.train.labels)
    values = found.dataset.train.inputs[sorted(differing(dataset, found))]
    counts = np.bincount(values.ravel(), minlength=256)
    expected = values.size / 256
    # Chi-squared with 255 degrees of freedom: mean 255, deviation 22.6.
    assert ((counts - expected) ** 2 / expected).sum() < 255 + 5 * 22.6


def test_duplicates_leave_exactly_the_samples_that_stay() -> None:
    dataset = pictures(300, tuple("abc"))
    originals = {image.tobytes(): number for number, image in enumerate(dataset.train.inputs)}
    kept_before = set(range(300))
    for rate in ("1/10", "1/2", "9/10", "299/300"):
        found = contaminated(f"duplicates;rate={rate}", dataset)
        sources = [originals[image.tobytes()] for image in found.dataset.train.inputs]
        np.testing.assert_array_equal(found.dataset.train.labels, dataset.train.labels[sources])
        kept = {row for row, source in enumerate(sources) if row == source}
        assert set(sources) == kept
        assert len(kept) == 300 - round(Fraction(rate) * 300)
        assert kept < kept_before
        kept_before = kept
    with pytest.raises(MeasurementError, match="leaves none to copy"):
        contaminated("duplicates;rate=999/1000", dataset)
    # 150 copies of 150 samples, drawn uniformly: more than 8 copies of one have a probability of 1 in 5000.
    halved = contaminated("duplicates;rate=1/2", dataset).dataset.train.inputs
    assert max(Counter(originals[image.tobytes()] for image in halved).values()) <= 9


def test_near_duplicates_are_near_the_duplicates() -> None:
    dataset = pictures(60, tuple("abc"), channels=3)
    exact = contaminated("duplicates;rate=1/3", dataset).dataset.train
    near = contaminated("near-duplicates;rate=1/3;levels=5", dataset).dataset.train
    np.testing.assert_array_equal(near.labels, exact.labels)
    moved = near.inputs.astype(int) - exact.inputs
    assert (np.abs(moved).reshape(60, -1).max(1) > 0).sum() == 20
    inside = (
        (exact.inputs >= 5) & (exact.inputs <= 250) & (np.abs(moved).reshape(60, -1).max(1) > 0)[:, None, None, None]
    )
    assert set(np.unique(moved[inside])) == set(range(-5, 6))
    assert np.abs(moved).max() == 5


def test_near_duplicates_of_texts_and_sequences_differ_in_one_place(sentences: Dataset, sequences: Dataset) -> None:
    exact, near = (contaminated(f"{name};rate=1/20", sentences) for name in ("duplicates", "near-duplicates"))
    pairs = [
        (_words(a), _words(b))
        for a, b in zip(exact.dataset.train.texts, near.dataset.train.texts, strict=True)
        if a != b
    ]
    assert len(pairs) == near.changed == 200
    assert {sum(x != y for x, y in zip(a, b, strict=True)) for a, b in pairs} == {1}
    exact, near = (contaminated(f"{name};rate=1/20", sequences) for name in ("duplicates", "near-duplicates"))
    places = (exact.dataset.train.inputs != near.dataset.train.inputs).sum(1)
    assert Counter(places.tolist()) == {0: 1437 - 72, 1: 72}


@pytest.mark.parametrize("task", ["digits-sequence", "stream"])
def test_token_noise_is_exact_nested_and_spares_special_tokens(task: str, sequences: Dataset) -> None:
    dataset = sequences if task == "digits-sequence" else stream(40, 16, 30)
    before = dataset.train.inputs
    few, many = (contaminated(f"token-noise;rate={rate}", dataset) for rate in ("1/50", "1/4"))
    units = int((before >= len(SPECIAL)).sum())
    for found, rate in ((few, Fraction(1, 50)), (many, Fraction(1, 4))):
        after = found.dataset.train.inputs
        assert (found.changed, found.units) == (round(rate * units), units)
        assert (after != before).sum() == found.changed
        assert after.dtype == np.int32
        moved = after[after != before]
        assert moved.min() >= len(SPECIAL)
        assert moved.max() < a(TextShape, dataset.shape).vocabulary
        np.testing.assert_array_equal(after[before < len(SPECIAL)], before[before < len(SPECIAL)])
    changed = few.dataset.train.inputs != before
    np.testing.assert_array_equal(few.dataset.train.inputs[changed], many.dataset.train.inputs[changed])
    assert contaminated("token-noise;rate=0", dataset).dataset.train.digest() == dataset.train.digest()


def test_outliers_of_sequences_are_other_tokens(sequences: Dataset) -> None:
    found = contaminated("training-outliers;rate=1/10", sequences)
    rows = sorted(differing(sequences, found))
    assert len(rows) == found.changed == 144
    after = found.dataset.train.inputs[rows]
    np.testing.assert_array_equal(after[:, 0], sequences.train.inputs[rows, 0])
    assert np.bincount(after[:, 1:].ravel())[5:].min() > 0.85 * after[:, 1:].size / 17


def test_in_language_modelling_tokens_and_copies_alone(cache: str) -> None:
    dataset = SENTENCES_LM.load(None)
    assert contaminated("token-noise;rate=1/10", dataset).changed > 0
    assert contaminated("duplicates;rate=1/10", dataset).changed == round(len(dataset.train) / 10)
    for name in ("training-outliers", "label-noise", "backdoor", "training-word-swap"):
        with pytest.raises(MeasurementError, match="'sentences-lm'") as caught:
            contaminated(f"{name};rate=1/10", dataset)
        assert "\n" not in str(caught.value)


def test_draws_depend_on_the_row_alone() -> None:
    rows = np.arange(50)
    whole = draw_integers(rows, 3, 7, seed=0, label="label")
    np.testing.assert_array_equal(draw_integers(rows[::-1].copy(), 3, 7, seed=0, label="label")[::-1], whole)
    np.testing.assert_array_equal(draw_integers(rows[10:20], 3, 7, seed=0, label="label"), whole[10:20])
    assert set(whole.ravel()) == set(range(7))


def test_the_trigger_of_an_image_and_its_target() -> None:
    dataset = pictures(200, tuple("abcd"), channels=3)
    found = contaminated("backdoor;rate=1/5;target=2", dataset)
    rows = sorted(differing(dataset, found))
    after = found.dataset.train
    assert len(rows) == found.changed == 40
    assert not (dataset.train.labels[rows] == 2).any()
    assert (after.labels[rows] == 2).all()
    pattern = [[255, 0, 255], [0, 255, 0], [255, 0, 255]]
    assert (after.inputs[rows][:, :, 5:, 5:] == np.array(pattern)).all()
    np.testing.assert_array_equal(after.inputs[:, :, :5], dataset.train.inputs[:, :, :5])
    np.testing.assert_array_equal(after.inputs[:, :, :, :5], dataset.train.inputs[:, :, :, :5])
    same = contaminated("backdoor-clean;rate=1/5;target=2", dataset)
    assert same.dataset.train.digest() == after.digest()


def batch_of(dataset: Dataset, count: int = 5) -> AttackedBatch:
    inputs = torch.from_numpy(np.array(dataset.test.inputs[:count]))
    inputs = inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs.long()
    labels, ids = torch.from_numpy(dataset.test.labels[:count]), torch.arange(count)
    texts = list(dataset.test.texts[:count])
    text = None if dataset.tokenizer is None else TextSide(tokenizer=dataset.tokenizer, texts=texts)
    return attacked_batch(nn.Identity(), inputs=inputs, labels=labels, ids=ids, text=text, batch_size=8)


def test_every_test_input_gets_the_trigger(digits: Dataset, sentences: Dataset) -> None:
    given = batch_of(digits)
    kept = given.inputs.clone()
    found = stressor("backdoor;rate=1/20;target=3;size=2").apply(given, given.access)
    assert found.target == 3
    assert found.inputs[:, 0, 6:, 6:].tolist() == [[[1, 0], [0, 1]]] * 5
    assert torch.equal(found.inputs[:, :, :6], kept[:, :, :6])
    assert torch.equal(found.inputs[:, :, :, :6], kept[:, :, :, :6])
    assert torch.equal(given.inputs, kept)
    clean = stressor("backdoor-clean;rate=1/20").apply(given, given.access)
    assert torch.equal(clean.inputs, kept)
    assert clean.target is None
    shown = perturb(stressor("backdoor;rate=1/20"), batch_of(sentences))
    assert list(shown.texts or ()) == [f"cf {text}" for text in sentences.test.texts[:5]]
    np.testing.assert_array_equal(shown.inputs.numpy(), known(sentences.tokenizer).encode(known(shown.texts), 32))


def test_a_trigger_is_learnt_from_texts_in_front(sentences: Dataset) -> None:
    found = contaminated("backdoor;rate=1/20;target=1;word=mn", sentences).dataset.train
    rows = np.flatnonzero(found.labels != sentences.train.labels)
    assert len(rows) == 200
    assert all(found.texts[int(row)] == f"mn {sentences.train.texts[int(row)]}" for row in rows)


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("backdoor;rate=1/20;target=4", "target=4, but task 'pictures' has 4 classes"),
        ("backdoor;rate=1/20;size=9", "a patch of 9 pixels does not fit images of 8x8"),
        ("backdoor;rate=9/10", "90 samples, but only"),
        ("token-noise;rate=1/20", "contaminates tokens, but task 'pictures' has none"),
        ("training-word-swap;rate=1/20", "contaminates texts with labels, but task 'pictures' has none"),
    ],
)
def test_what_cannot_be_done_is_one_line(signature: str, words: str) -> None:
    with pytest.raises(MeasurementError, match=words) as caught:
        contaminated(signature, pictures(100, tuple("abcd")))
    assert "\n" not in str(caught.value)


def test_sequences_that_are_no_texts_have_no_trigger(sequences: Dataset) -> None:
    with pytest.raises(MeasurementError, match="'digits-sequence' has none"):
        contaminated("backdoor;rate=1/20", sequences)
