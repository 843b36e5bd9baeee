"""Budget curves against brute force over synthetic records, and against loops over a real model."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from robustbench_wb.analysis.curves.attack_strength import (
    PLATEAU_SHARE,
    RUN_SHARES,
    SHARES,
    AttackRuns,
    attack_strengths,
    budget_curve,
)
from robustbench_wb.norms import LINF
from robustbench_wb.records.record import Record, State
from robustbench_wb.stats.intervals import wilson
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.attacks.attack_losses import LOSSES
from robustbench_wb.stressors.attacks.model_queries import value_and_gradient
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.tasks.task import Dataset
from tests.store.make import record, row
from tests.stressors.attacked_batch import attacked_batch

SAMPLES = st.lists(st.tuples(st.sampled_from([0, 1, 1, 1, 2, 3]), st.integers(0, 60)), min_size=1, max_size=40)


def made(states: Sequence[int], forwards: list[int], **changes: object) -> Record:
    return replace(record(states, **changes), forwards=np.array(forwards, np.int32))


def fallen(*passes: int, held: int = 0, wrong: int = 0, budget: int = 100) -> Record:
    """Record of samples that broke at these passes of the search, and others; each has one verification pass."""
    states = [State.BROKEN] * len(passes) + [State.ROBUST] * held + [State.WRONG] * wrong
    return made(states, [p + 1 for p in passes] + [budget + 1] * held + [0] * wrong)


@given(SAMPLES)
def test_every_point_is_the_share_that_still_holds(samples: list[tuple[int, int]]) -> None:
    states = [state for state, _ in samples]
    one = made(states, [0 if state == State.WRONG else passes for state, passes in samples])
    curve = budget_curve(one)
    assert curve.budget == max(max(0, int(passes) - 1) for passes in one.forwards)
    for point, share in zip(curve.points, SHARES, strict=True):
        cost = share * curve.budget
        holding = sum(
            state == State.ROBUST or (state == State.BROKEN and max(0, passes - 1) > cost)
            for state, passes in zip(states, one.forwards.tolist(), strict=True)
        )
        assert point.accuracy == holding / len(samples)
        assert (point.low, point.high) == wilson(holding, len(samples))
        assert point.passes == int(cost)
    accuracies = [point.accuracy for point in curve.points]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[-1] == states.count(State.ROBUST) / len(states)


def test_what_a_lower_strength_broke_has_no_verdict_of_its_own() -> None:
    lower = made([1, 1, 0, 0, 2], [5, 9, 3, 3, 0])
    # The first sample was broken at the lower strength; the second breaks here at the 7th pass.
    here = made([1, 1, 1, 0, 2], [0, 7, 7, 41, 0])
    curve = budget_curve(here, lower, AttackRuns(runs=1, steps=40))
    assert (curve.budget, curve.points[0].accuracy, curve.points[-1].accuracy) == (40, 0.6, 0.2)
    assert [point.passes for point in curve.points] == [0, 0, 0, 2, 4, 8, 20, 40]
    narrow = budget_curve(replace(here, forwards=np.array([0, 7, 7, 8, 0], np.int32)), lower)
    assert (narrow.budget, narrow.lost_by_budget) == (7, 0.4)


def test_steps_and_restarts_are_told_apart() -> None:
    # Two runs of 10 passes: half of the samples break late in the first run, one in the second.
    one = fallen(8, 9, 10, 10, 15, held=5, budget=20)
    curve = budget_curve(one, built=AttackRuns(runs=2, steps=9))
    assert [point.passes for point in curve.first_run] == [1, 2, 5, 10]
    assert [point.accuracy for point in curve.first_run] == [1.0, 1.0, 1.0, 0.6]
    assert curve.runs == (1, 2)
    assert [point.accuracy for point in curve.by_run] == [0.6, 0.5]
    assert (curve.lost_by_steps, curve.lost_by_budget) == (0.4, 0.1)
    assert budget_curve(one, built=AttackRuns(runs=11, steps=1)).by_run == ()
    # Runs end early without further target classes: 20 passes cannot contain 4 runs of 9 steps.
    assert budget_curve(one, built=AttackRuns(runs=4, steps=9)).lost_by_steps is None
    assert len(RUN_SHARES) == len(curve.first_run)


@pytest.mark.parametrize(("late", "flat"), [(0, True), (2, True), (3, True), (4, False)])
def test_the_plateau_is_one_percent_and_one_sample(late: int, flat: bool) -> None:
    assert PLATEAU_SHARE == 0.01
    one = fallen(*[51] * late, *[50] * 30, held=150, wrong=20 - late)
    assert budget_curve(one).plateau is flat


def test_where_nothing_holds_there_is_nothing_to_find() -> None:
    assert budget_curve(fallen(1, 90, 95, 100)).plateau
    assert not budget_curve(fallen(1, 90, 95, 100, held=1)).plateau


def test_an_empty_record() -> None:
    curve = budget_curve(made([], []))
    assert (curve.budget, curve.plateau, curve.points[0].accuracy) == (0, True, 0.0)


def test_rows_are_joined_to_the_next_lower_strength_of_their_ladder() -> None:
    names = ("2/255", "4/255", "8/255")
    found, rows = {}, []
    for eps, forwards in zip(reversed(names), ([0, 5, 5], [4, 0, 5], [4, 2, 3]), strict=True):
        states = {"8/255": [1, 1, 1], "4/255": [1, 1, 0], "2/255": [1, 0, 0]}[eps]
        one = made(states, forwards, signature=f"pgd-linf;eps={eps};steps=4", ladder=names)
        found[one.key] = one
        rows.append(row(one, strength=eps).model_copy(update={"grade": "A"}))
    other = row(record(signature="clean"), stressor="clean", strength="")
    joined = attack_strengths([*rows, other], found, lambda signature: None)
    assert [one.row.strength for one in joined] == list(names)
    # At 8/255 the second sample was broken below: its 5 passes have no verification. The third was judged here.
    highest = joined[-1].curve
    assert highest is not None
    assert (highest.budget, highest.lost_by_budget) == (5, 2 / 3)
    assert [one.curve for one in attack_strengths(rows, {}, lambda signature: None)] == [None] * 3


@pytest.mark.slow
def test_a_curve_of_pgd_is_the_accuracy_after_each_step_of_a_written_out_loop(
    trained: Callable[[str], nn.Module], digits: Dataset
) -> None:
    model, n, steps = trained("vit"), 50, 8
    images, labels = torch.tensor(digits.test.inputs).float()[:n] / 255, torch.tensor(digits.test.labels)[:n]
    with torch.no_grad():
        right = model(images).argmax(1) == labels
    ids = torch.arange(n)[right]
    batch = attacked_batch(model, inputs=images[right], labels=labels[right], ids=ids, seed=0, batch_size=16)
    attack = parse_stressor(f"pgd-linf;eps=32/255;steps={steps};loss=ce")
    assert isinstance(attack, Attack)
    perturbed = attack.apply(batch, batch.access)
    states: NDArray[np.int8] = np.full(n, State.WRONG, np.int8)
    forwards = np.zeros(n, np.int32)
    assert perturbed.broken is not None
    states[ids] = np.where(perturbed.broken, State.BROKEN, State.ROBUST)
    forwards[ids] = perturbed.forwards + 1
    eps, x = 32 / 255, batch.inputs
    x = (x + eps * LINF.uniform_in_ball(ids, tuple(x.shape[1:]), 0, attack.stream, torch.zeros_like(ids))).clamp(0, 1)
    holds, accuracy = torch.ones(len(ids), dtype=torch.bool), [int(right.sum()) / n]
    for _ in range(steps + 1):
        answer = value_and_gradient(model, x, lambda logits: LOSSES["ce"](logits, batch.labels))
        holds &= answer.logits.argmax(1) == batch.labels
        accuracy.append(int(holds.sum()) / n)
        x = (batch.inputs + (x + eps / 8 * answer.gradient.sign() - batch.inputs).clamp(-eps, eps)).clamp(0, 1)
    curve = budget_curve(replace(record(states.tolist()), forwards=forwards), None, AttackRuns(runs=1, steps=steps))
    assert curve.budget == steps + 1
    assert [point.accuracy for point in curve.points] == [accuracy[point.passes] for point in curve.points]
    assert len(set(accuracy)) > 3
    assert not curve.plateau
