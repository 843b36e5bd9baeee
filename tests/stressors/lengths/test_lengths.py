"""Length stressors: labels stay, samples depend on their ids only, and impossible lengths are rejected."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from robustbench_wb.engine.plan import make_plan
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import PAD, TextShape
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.lengths.length_stressor import LengthStressor
from robustbench_wb.stressors.sample_batch import SampleBatch, TextSide
from robustbench_wb.stressors.token_ids import token_ids_of
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.listops.expression import CLOSE, DIGITS, FIRST_SYMBOL_ID, evaluate, parse
from robustbench_wb.tasks.long_planted_facts import PLANTED_4K
from robustbench_wb.tasks.planted_facts_task import FACT, FILLER, HEAD, QUERY, VALUES, VOCABULARY
from robustbench_wb.tasks.task import Dataset
from tests.stressors.attacked_batch import AttackedBatch, attacked_batch, make_data, perturb


def batch_of(dataset: Dataset, ids: list[int]) -> AttackedBatch:
    test = dataset.test
    inputs = torch.from_numpy(np.asarray(test.inputs[ids])).long()
    labels = torch.from_numpy(test.labels[ids])
    texts = [test.texts[row] for row in ids] if test.texts else ()
    sizes = None if test.token_counts is None else test.token_counts[ids]
    given = attacked_batch(
        nn.Identity(),
        inputs=inputs,
        labels=labels,
        ids=torch.tensor(ids),
        seed=3,
        batch_size=4,
        text=None if dataset.tokenizer is None else TextSide(tokenizer=dataset.tokenizer, texts=texts),
    )
    return replace(given, split=test, shape=dataset.shape, token_counts=sizes)


def stressor(signature: str) -> LengthStressor:
    found = parse_stressor(signature)
    assert isinstance(found, LengthStressor)
    return found


def tokens(signature: str, given: SampleBatch) -> NDArray[np.uint8] | NDArray[np.int32]:
    made = make_data(stressor(signature), given).inputs
    assert made is not None
    return made


def most_arguments(symbols: list[int]) -> int:
    """Largest number of arguments of any operator, from brackets counted by hand."""
    most, open_ = 0, [0]
    for symbol in symbols:
        if symbol == FIRST_SYMBOL_ID + CLOSE:
            most = max(most, open_.pop())
        else:
            open_[-1] += 1
            if symbol >= FIRST_SYMBOL_ID + DIGITS:
                open_.append(0)
    return most


@pytest.mark.parametrize("law", ["", ";arguments=3;expand=1/2"])
@pytest.mark.parametrize("length", [32, 128, 256])
def test_longer_expressions_have_the_values_that_the_samples_had(length: int, law: str) -> None:
    dataset = find_task("listops-64").load(None)
    some = batch_of(dataset, [0, 5, 1999, 7])
    rows = tokens(f"listops-length;length={length}{law}", some)
    for row, label in zip(rows, some.labels.tolist(), strict=True):
        real = row[row != PAD]
        assert length // 2 < len(real) <= length
        assert evaluate(parse(real[1:])) == label
        assert not law or most_arguments(real[1:].tolist()) <= 3
    alone = tokens(f"listops-length;length={length}{law}", batch_of(dataset, [1999]))
    np.testing.assert_array_equal(alone[0], rows[2])


@pytest.mark.parametrize(("position", "place"), [("0", 2), ("1/2", 2 + 30), ("1", 63)])
def test_a_fact_lies_where_it_is_asked_for(position: str, place: int) -> None:
    dataset = find_task("planted-64").load(None)
    some = batch_of(dataset, list(range(40)))
    rows = tokens(f"planted-facts;length=64;position={position};distractors=7", some)
    for row, label in zip(rows, some.labels.tolist(), strict=True):
        assert row[place] == FACT + (row[1] - QUERY) * VALUES + label
        assert ((row >= FACT) & (row < FILLER)).sum() == 8
        assert (row != PAD).all()
    longer = tokens(f"planted-facts;length=256;position={position};distractors=7", some)
    assert (longer[:, :HEAD] == rows[:, :HEAD]).all()
    anywhere = tokens("planted-facts;length=64;distractors=7", some)
    answers = FACT + (anywhere[:, 1] - QUERY) * VALUES + some.labels.numpy()
    _, found = np.nonzero(anywhere == answers[:, None])
    assert len(found) == 40
    assert len(set(found.tolist())) > 20


def test_rows_of_two_places_stand_apart_in_a_table() -> None:
    labels = {
        stressor(f"planted-facts;length=64;{rest}").label for rest in ("position=0", "position=1", "distractors=2")
    }
    assert labels == {
        "planted-facts:position=0,distractors=0",
        "planted-facts:position=1,distractors=0",
        "planted-facts:position=any,distractors=2",
    }


def test_more_of_a_text_is_shown_and_what_is_cut_is_counted() -> None:
    dataset = find_task("sentences").load(None)
    some = batch_of(dataset, list(range(50)))
    assert some.token_counts is not None
    rows = tokens("text-length;length=10", some)
    assert rows.shape == (50, 10)
    assert ((rows != PAD).sum(1) == np.minimum(some.token_counts, 10)).all()
    longest = stressor("text-length;length=32")
    np.testing.assert_array_equal(tokens("text-length;length=32", some), some.inputs.numpy())
    found = stressor("text-length;length=10").apply(some, some.access).evidence
    assert found == {"texts": 50, "cut": int((some.token_counts > 10).sum()), "empty": 0}
    assert longest.apply(some, some.access).evidence["cut"] == 0


@pytest.mark.parametrize(
    ("task", "plain"),
    [
        ("listops-64", "listops-length;length=128;arguments=3;expand=1/2"),
        ("planted-64", "planted-facts;length=128;position=1/2;distractors=7"),
        ("sentences", "text-length;length=12"),
    ],
)
@pytest.mark.parametrize(
    ("noise", "share"), [("substitution=1/10", 0.1), ("dropout=1/5", 0.2), ("substitution=1/10;dropout=1/5", 0.28)]
)
def test_tokens_are_wrong_or_hidden_at_another_length(task: str, plain: str, noise: str, share: float) -> None:
    dataset = find_task(task).load(None)
    ids = list(range(200))
    some = batch_of(dataset, ids)
    clean = make_data(stressor(plain), some)
    made = make_data(stressor(f"{plain};{noise}"), some)
    assert clean.inputs is not None
    assert made.inputs is not None
    changed = made.inputs != clean.inputs
    units = token_ids_of(some).ordinary(torch.from_numpy(clean.inputs)).numpy()
    assert not changed[~units].any()
    np.testing.assert_array_equal(made.changed, changed.sum(1))
    np.testing.assert_array_equal(made.units, units.sum(1))
    realised = made.changed.sum() / made.units.sum()
    spread = 4 * (share * (1 - share) / made.units.sum()) ** 0.5
    assert abs(realised - share) < max(spread, 0.01)
    hidden = made.inputs == token_ids_of(some).mask
    assert bool(hidden.any()) == ("dropout" in noise)
    assert (changed & ~hidden).any() == ("substitution" in noise)
    alone = make_data(stressor(f"{plain};{noise}"), batch_of(dataset, [7])).inputs
    assert alone is not None
    np.testing.assert_array_equal(alone[0], made.inputs[7])
    evidence = stressor(f"{plain};{noise}").apply(some, some.access).evidence
    assert evidence["changed"] / evidence["units"] == realised


def test_rows_with_noise_stand_apart_in_a_table() -> None:
    plain, noisy = (stressor(f"listops-length;length=64{rest}") for rest in ("", ";substitution=1/20;dropout=1/4"))
    assert (plain.label, noisy.label) == ("listops-length", "listops-length:substitution=1/20,dropout=1/4")
    assert (
        noisy.at("128").signature == "listops-length;length=128;substitution=1/20;dropout=1/4;arguments=10;expand=1/4"
    )
    fact = stressor("planted-facts;length=64;dropout=1/4")
    assert fact.label == "planted-facts:position=any,distractors=0,dropout=1/4"


@pytest.mark.parametrize(
    ("task", "signature", "why"),
    [
        ("listops-64", "listops-length;length=512", "models of this task take at most 256 tokens"),
        ("planted-64", "listops-length;length=32", "the task is not ListOps"),
        ("listops-64", "planted-facts;length=32", "the task has no planted facts"),
        ("listops-64", "text-length;length=32", "no texts"),
        ("planted-64", "planted-facts;length=16;distractors=14", "16 tokens have no room for 15 facts"),
        ("digits", "text-length;length=32", "the length of images cannot be changed"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(task: str, signature: str, why: str) -> None:
    dataset = find_task(task).load(None)
    with pytest.raises(MeasurementError, match=why) as caught:
        perturb(stressor(signature), batch_of(dataset, [0, 1]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("position", "place"), [("0", 2), ("1/4", 2 + 4095), ("1", 16_383)])
def test_a_needle_lies_at_its_depth_in_16384_tokens(position: str, place: int) -> None:
    labels = torch.tensor([3, 9])
    some = SampleBatch(
        inputs=torch.full((2, 4096), FILLER),
        labels=labels,
        ids=torch.tensor([0, 999]),
        seed=0,
        shape=TextShape(vocabulary=VOCABULARY, length=PLANTED_4K.room, classes=VALUES),
    )
    rows = tokens(f"planted-facts;length=16384;position={position};distractors=7", some)
    assert rows.shape == (2, PLANTED_4K.room)
    for row, label in zip(rows, labels.tolist(), strict=True):
        assert row[place] == FACT + (row[1] - QUERY) * VALUES + label
        assert ((row >= FACT) & (row < FILLER)).sum() == 8
        assert (row != PAD).all()


def test_the_needle_suite_has_five_depths_at_every_scale() -> None:
    for scale, task, lengths in (
        ("smoke", "planted-64", "64 128 256"),
        ("small", "planted-256", "256 512 1024"),
        ("full", "planted-4k", "1024 4096 16384"),
    ):
        (planned,) = make_plan(RunRequest.model_validate({"suite": "needle", "scale": scale})).tasks
        assert planned.task.name == task
        needles = planned.ladders[1:]
        assert [str(getattr(ladder.rungs[0], "position", "")) for ladder in needles] == ["0", "1/4", "1/2", "3/4", "1"]
        assert {" ".join(rung.strength for rung in ladder.rungs) for ladder in needles} == {lengths}
    (known,) = make_plan(RunRequest(suite="needle", scale="full", tasks=("planted-1k",))).tasks
    assert planned.subjects[0].recipe == known.subjects[0].recipe
