"""Swapped words and hidden tokens: their number, their choice, and everything that must stay."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from robustbench_wb.api import run as harness
from robustbench_wb.engine.perturbed_cache import PerturbedCache
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.task_samples import TaskSamples, choose_samples
from robustbench_wb.errors import MeasurementError, UsageError
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.models.shape import PAD
from robustbench_wb.progress import SilentProgress
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.contamination.stop_words import STOP_WORDS
from robustbench_wb.stressors.model_free import ModelFreeStressor, ModelFreeTextStressor
from robustbench_wb.stressors.sample_batch import SampleBatch, TextSide
from robustbench_wb.stressors.unit_choice import stochastic_round
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.lexicon import find_words
from robustbench_wb.tasks.task_tokenizer import MASK, SPECIAL, UNKNOWN, Encoding, TaskTokenizer, train_tokenizer
from tests.known import known
from tests.stressors.attacked_batch import UnusedTokenizer, make_data

RATES = ["0", "3/200", "1/40", "1/10", "1/2", "1"]
LINE = "The quick brown fox isn't afraid of seven lazy dogs, nor of the other 12 wolves; it runs over 3 hills again.\n"


def swap(rate: str, floor: str = "none") -> ModelFreeTextStressor:
    stressor = parse_stressor(f"word-swap;rate={rate};floor={floor}")
    assert isinstance(stressor, ModelFreeTextStressor)
    return stressor


def words(text: str) -> list[str]:
    return [text[start:end] for start, end in find_words(text)]


def between(text: str) -> list[str]:
    edges = [0, *(edge for span in find_words(text) for edge in span), len(text)]
    return [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]


@given(
    rate=st.fractions(0, 1, max_denominator=400),
    units=st.integers(0, 5000),
    draws=st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=5),
)
def test_counted_rounding(rate: Fraction, units: int, draws: list[int]) -> None:
    exact = rate * units
    for draw in draws:
        found = stochastic_round(rate, units, draw)
        assert found in (floor(exact), ceil(exact))
        unit = Fraction((draw % (1 << 64)) >> 11, 1 << 53)
        assert found == floor(exact) + (unit < exact - floor(exact))
        assert found <= stochastic_round(min(rate * 2, Fraction(1)), units, draw)


@given(
    text=st.one_of(st.text(max_size=80), st.just(LINE), st.just("the of and"), st.just("😀 学 é שלום")),
    sample=st.integers(0, 1 << 31),
    floor_=st.sampled_from(["none", "one"]),
)
@settings(max_examples=80, deadline=None)
def test_swapped_words_of_any_text(text: str, sample: int, floor_: str) -> None:
    before = words(text)
    eligible = [word for word in before if word.lower() not in STOP_WORDS]
    found = []
    for rate in RATES:
        after, changed, units = swap(rate, floor_).perturb(text, sample, 0)
        exact = Fraction(rate) * len(before)
        asked = {floor(exact), ceil(exact)} if floor_ == "none" else {max(1, floor(exact)) if rate != "0" else 0}
        assert changed in {min(count, len(eligible)) for count in asked}
        assert units == len(before)
        pairs = list(zip(before, words(after), strict=True))
        swapped = {at for at, (old, new) in enumerate(pairs) if new == "AAA" != old}
        assert changed - before.count("AAA") <= len(swapped) <= changed
        assert all(old == new or new == "AAA" for old, new in pairs)
        assert all(before[at].lower() not in STOP_WORDS for at in swapped)
        # Characters between the words stay.
        assert between(after) == between(text)
        found.append(swapped)
    assert found[0] == set()
    assert swap("0", floor_).perturb(text, sample, 0)[0] == text
    assert all(lower <= higher for lower, higher in pairwise(found))
    assert len(found[-1]) == len([word for word in eligible if word != "AAA"])


def test_the_papers_floor_contaminates_short_lines_at_more_than_the_rate() -> None:
    lines = [LINE.rsplit(" ", cut)[0] for cut in range(1, 15)] * 150
    shares = {}
    for floor_ in ("none", "one"):
        found = [swap("1/40", floor_).perturb(line, row, 0)[1:] for row, line in enumerate(lines)]
        changed, units = (sum(one[which] for one in found) for which in (0, 1))
        shares[floor_] = changed / units
    assert shares["none"] == pytest.approx(1 / 40, rel=0.06)
    assert shares["one"] > 0.06


def dataset_batch(task: str, count: int = 40) -> SampleBatch:
    samples = choose_samples(find_task(task).load(None), count)
    inputs, labels = to_inputs(samples.inputs, "cpu"), torch.from_numpy(samples.labels)
    return SampleBatch(
        inputs=inputs,
        labels=labels,
        ids=torch.from_numpy(samples.ids).long(),
        seed=0,
        text=samples.text,
        language=samples.language,
        shape=samples.shape,
    )


def dropout(rate: str, token: str = "mask") -> ModelFreeStressor:
    stressor = parse_stressor(f"token-dropout;rate={rate};token={token}")
    assert isinstance(stressor, ModelFreeStressor)
    return stressor


@pytest.mark.parametrize("token", ["mask", "unknown"])
@pytest.mark.parametrize("task", ["sentences", "digits-sequence", "sentences-lm"])
def test_hidden_tokens(task: str, token: str) -> None:
    batch = dataset_batch(task)
    before = batch.inputs.numpy()
    hidden = {"mask": MASK, "unknown": UNKNOWN}[token]
    assert not (before == hidden).any()
    last = np.zeros_like(before, bool)
    for rate in RATES:
        made = make_data(dropout(rate, token), batch)
        assert made.inputs is not None
        dropped = made.inputs == hidden
        assert (made.inputs[~dropped] == before[~dropped]).all()
        assert not (dropped & (before < len(SPECIAL))).any()
        assert (last <= dropped).all()
        last = dropped
        for row, tokens in enumerate(before):
            real = sum(int(number) >= len(SPECIAL) for number in tokens)
            assert made.units[row] == real
            assert made.changed[row] == dropped[row].sum()
            assert made.changed[row] in (floor(Fraction(rate) * real), ceil(Fraction(rate) * real))
        if task == "sentences-lm":
            assert made.counted is not None
            assert (made.counted == (~dropped & (before != PAD))).all()
        else:
            assert made.counted is None
    assert (last == (before >= len(SPECIAL))).all()


@pytest.mark.parametrize("signature", ["token-dropout;rate=1/3", "word-swap;rate=1/3"])
def test_order_and_batches_do_not_matter(signature: str) -> None:
    stressor = parse_stressor(signature)
    assert isinstance(stressor, ModelFreeStressor)
    batch = dataset_batch("sentences")
    whole = make_data(stressor, batch)
    back = make_data(
        stressor,
        replace(
            batch,
            inputs=batch.inputs.flip(0),
            ids=batch.ids.flip(0),
            text=known(batch.text).select(np.arange(40)[::-1].copy()),
        ),
    ).select(np.arange(len(batch.ids))[::-1].copy())
    assert (whole.changed == back.changed).all()
    assert whole.texts == back.texts
    for row in range(len(batch.ids)):
        one = make_data(stressor, batch.select(np.arange(len(batch.ids)) == row))
        assert one.changed[0] == whole.changed[row]
        if whole.inputs is None or one.inputs is None or back.inputs is None:
            assert one.texts is not None
            assert whole.texts is not None
            assert one.texts[0] == whole.texts[row]
        else:
            assert (one.inputs[0] == whole.inputs[row]).all()
            assert (back.inputs[row] == whole.inputs[row]).all()


class Foreign(UnusedTokenizer):
    """Custom tokenizer: id 9 is its class token, id 7 its mask; it has no unknown token."""

    special = frozenset({0, 7, 9})
    vocabulary, mask, unknown = 50, 7, None


def test_another_tokenizer_says_what_is_special() -> None:
    tokens = torch.tensor([[9, 1, 2, 3, 9, 0], [9, 40, 9, 0, 0, 0]])
    batch = replace(dataset_batch("sentences", 2), inputs=tokens, text=TextSide(tokenizer=Foreign()))
    made = make_data(dropout("1"), batch)
    assert made.inputs is not None
    assert made.inputs.tolist() == [[9, 7, 7, 7, 9, 0], [9, 7, 9, 0, 0, 0]]
    assert made.units.tolist() == [3, 1]
    with pytest.raises(MeasurementError, match="has no unknown token"):
        make_data(dropout("1", "unknown"), batch)


def test_subjects_with_other_token_ids_share_nothing_on_the_shelf(cache: str) -> None:
    one = choose_samples(find_task("sentences").load(None), 20)
    other: TaskSamples = replace(one, inputs=np.where(one.inputs >= len(SPECIAL), one.inputs + 1, one.inputs))
    made = []
    for samples in (one, other):
        shelf = PerturbedCache(
            samples=samples, data="same data", seed=0, device=torch.device("cpu"), progress=SilentProgress()
        )
        stressor, _ = shelf.take(dropout("1/10"))
        made.append(make_data(stressor, dataset_batch("sentences", 20)).inputs)
    assert made[0] is not None
    assert made[1] is not None
    assert not (made[0] == made[1]).all()
    kept = (made[0] == one.inputs) & (one.inputs >= len(SPECIAL))
    assert (made[1][kept] == made[0][kept] + 1).all()


@pytest.mark.parametrize("kind", ["bpe", "bytes"])
@given(text=st.one_of(st.text(st.characters(codec="utf-8"), max_size=40), st.just(LINE), st.just("naïve 学习 😀")))
@settings(max_examples=40, deadline=None)
def test_the_pieces_of_a_text_are_the_text(kind: str, text: str) -> None:
    tokenizer = _tokenizer(kind)
    ids = tokenizer.encode([text], 1000)[0].tolist()
    seen = b"".join(tokenizer.pieces[number] for number in ids)
    if kind == "bytes":
        assert seen.decode() == text
        assert tokenizer.encode_part(text) == [number for number in ids if number >= len(SPECIAL)]
        return
    library = Tokenizer.from_str(tokenizer.json)
    assert seen.decode() == library.decode([number for number in ids if number >= len(SPECIAL)])
    inner = b"".join(tokenizer.pieces[number] for number in tokenizer.encode_part(text)).decode()
    assert inner == library.normalizer.normalize_str(text)


_KNOWN: dict[str, TaskTokenizer] = {}


def _tokenizer(kind: str) -> TaskTokenizer:
    if kind not in _KNOWN:
        encoding = Encoding(kind=kind, vocabulary=320 if kind == "bpe" else 261, length=8)
        _KNOWN[kind] = TaskTokenizer(train_tokenizer([LINE, LINE.upper(), "naïve naïve 学习"] * 5, encoding).to_str())
    return _KNOWN[kind]


def request(**more: object) -> RunRequest:
    given = {"suite": "contamination-text", "variants": ("bert",), "recipe": "none", "samples": 40, "device": "cpu"}
    return RunRequest(**{**given, **more})


@pytest.mark.slow(2)
def test_the_suite_runs(tmp_path: Path) -> None:
    rows = harness.run(request(), results=str(tmp_path)).rows
    assert [row.stressor for row in rows] == ["clean", *["word-swap"] * 4, *["token-dropout"] * 3]
    assert {row.status for row in rows} == {"ok"}
    for row in rows[1:]:
        assert row.realised == pytest.approx(float(Fraction(row.strength)), abs=0.03)
    again = request(stressors=("word-swap;rate=0", "token-dropout;rate=0"))
    clean, *others = harness.run(again, results=str(tmp_path)).rows
    assert {(row.accuracy, row.realised) for row in others} == {(clean.accuracy, 0.0)}


@pytest.mark.parametrize(
    ("task", "stressor", "reason"),
    [
        ("digits", "token-dropout;rate=1/10", "perturbs token ids, and task 'digits' has none"),
        ("digits", "word-swap;rate=1/10", "perturbs texts with labels, and task 'digits' has none"),
        ("sentences-lm", "word-swap;rate=1/10", "perturbs texts with labels, and task 'sentences-lm' has none"),
        ("sentences", "word-swap-lm;rate=1/10", "perturbs texts without labels, and task 'sentences' has none"),
        ("sentences", "outlier-pixels;rate=1/10", "perturbs images, and task 'sentences' has none"),
        ("sentences", "word-swap;rate=3/2", "less than or equal to 1"),
        ("sentences", "word-swap;rate=1/10;floor=two", "floor"),
        (
            "sentences-lm",
            "word-swap-lm;rate=0;targets=swapped",
            "targets=swapped needs a rate above 0: at rate 0 no word is swapped",
        ),
    ],
)
def test_what_cannot_be_contaminated_is_refused(task: str, stressor: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=reason):
        harness.run(request(tasks=(task,), stressors=(stressor,)), results=str(tmp_path / "r"))
    assert not (tmp_path / "r").exists()
