"""Stored discordance by hand, and the samples that a gate needs."""

import json
import re
from collections.abc import Sequence

import numpy as np
import pytest

from robustbench_wb.analysis.gate.discordance import StoredDiscordance, measurement_pairs, stored_discordance
from robustbench_wb.analysis.gate.margins import Margins
from robustbench_wb.analysis.gate.sample_plan import SamplePlan, discordance_text, plan_samples, with_detectable
from robustbench_wb.errors import UsageError
from robustbench_wb.records.record import Record
from robustbench_wb.records.run_forecast import PartForecast, RunForecast
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.forecast import forecast_blocks
from robustbench_wb.report.sample_plan import sample_plan_blocks, sample_plan_json
from robustbench_wb.report.text_block import plain_text
from robustbench_wb.stats.drop_power import excludes_drop, shows_drop
from tests.analysis.test_gate import cells, gate_of
from tests.known import known
from tests.store.make import record, row, scored, text_row

Cells = Sequence[tuple[ScoreRow, Record]]


def cell(broken: Sequence[int], seed: int = 0, variant: str = "vit") -> tuple[ScoreRow, Record]:
    states = [1 if at in broken else 0 for at in range(20)]
    kept = record(states, weights=f"{broken} {variant}", seed=seed)
    return row(kept, seed=seed, variant=variant), kept


def found(cells: Cells, baseline: Cells = ()) -> StoredDiscordance | None:
    records = {kept.key: kept for _, kept in (*cells, *baseline)}
    rows, before = [one for one, _ in cells], [one for one, _ in baseline]
    return stored_discordance(rows, before, records=records, tables="v1")


VIT = [cell([0, 1, 2], seed=0), cell([2, 3], seed=1)]
CRATE = cell([0, 5, 6, 7, 8], variant="crate", seed=0)


def test_seeds_of_a_model_come_before_other_models() -> None:
    of_seeds = known(found([*VIT, CRATE]))
    (only,) = of_seeds.cells
    assert (of_seeds.source, only.pairs, only.n) == ("seeds", 1, 20)
    assert only.changed == pytest.approx(2 / 20)  # gained 0 and 1, lost 3: one in each direction
    assert only.seed_error == pytest.approx(1 / 20)
    of_models = known(found([VIT[0], CRATE]))
    assert (of_models.source, of_models.cells[0].seed_error) == ("models", None)
    assert of_models.cells[0].changed == pytest.approx(2 * 2 / 20)
    assert "digits 20.0 % between models in v1" in discordance_text(of_models, None)


def test_a_baseline_is_paired_by_cell_and_equal_records_are_none() -> None:
    versions = known(found([VIT[1]], [cell([0, 1, 2, 4], seed=1), CRATE]))
    assert (versions.source, versions.cells[0].changed) == ("versions", pytest.approx(2 / 20))
    assert found([VIT[0]], [VIT[0]]) is None
    assert found([VIT[0]]) is None
    # Two suites share a record; a perplexity and an unjudged cell have no discordance.
    again = (VIT[0][0].model_copy(update={"suite": "other"}), VIT[0][1])
    assert measurement_pairs([VIT[0][0], again[0]]) == []
    texts = [scored([1.0, 2.0 + seed], seed=seed) for seed in (0, 1)]
    assert found([(text_row(one, seed=one.identity.seed), one) for one in texts]) is None
    unjudged = [record([3, 0, seed], seed=seed) for seed in (0, 1)]
    assert found([(row(one, seed=one.identity.seed), one) for one in unjudged]) is None


def forecast(**fields: object) -> RunForecast:
    part = {
        "suite": "adversarial",
        "task": "digits",
        "variant": "vit",
        "size": "nano",
        "recipe": "standard",
        "seeds": (0, 1),
        "samples": 300,
        "cells": 6,
        "stored": 0,
        "trainings": 0,
        "training_seconds": 0.0,
        "evaluation_seconds": 1.0,
        "memory": 1,
    }
    made = PartForecast.model_validate({**part, **fields})
    return RunForecast(parts=(made, made.model_copy(update={"variant": "crate"})), workers=1, device="cpu")


def test_the_planned_decisions_are_those_of_the_gate() -> None:
    """On both sides of each critical count of losses, the gate decides as the tests whose power is planned."""
    (part,) = plan_samples(forecast(), Margins(default=5), discordance=0.06, drop=0.14)
    assert (part.cells, part.margin, part.samples) == (3, 0.05, 300)
    n, gained = known(part.to_show), 5
    lost = np.arange(n - gained)
    total, gains = np.full(len(lost), n), np.full(len(lost), gained)
    shown = int(np.argmax(shows_drop(total, lost, gains, margin=0.05, alpha=0.05 / 3)))
    left = int(np.argmin(excludes_drop(total, lost, gains, margin=0.05, alpha=0.05)))
    for losses, outcome in ((shown, "regressed"), (shown - 1, "undecided"), (left, "undecided"), (left - 1, "passed")):
        assert cells(gate_of([(losses, gained), (0, 0), (0, 0)], n=n, margin=5))[0] == outcome


def test_a_task_with_too_few_samples_is_named() -> None:
    parts = plan_samples(forecast(), Margins(default=5), discordance=0.06)
    made = SamplePlan(power=0.8, discordance="6 %", parts=parts, forecast=forecast())
    shown = " ".join(plain_text(sample_plan_blocks(made)).split())
    assert f"digits has only 300 samples, of {made.samples:,} needed" in shown
    assert "with all samples that there are" in shown
    content = json.loads(sample_plan_json(made))
    assert (content["samples"], content["seconds"], content["alpha"]) == (made.samples, 2.0, 0.05)


def test_a_forecast_shows_the_smallest_drop() -> None:
    planned = with_detectable(forecast(), Margins(), None)
    shown = plain_text(forecast_blocks(planned))
    assert re.search(rf"MDE$[\s\S]* {100 * known(planned.parts[0].detectable):.1f}$", shown, flags=re.M)
    assert "10 % of the samples, assumed" in shown
    assert "smallest drop" not in plain_text(forecast_blocks(forecast()))


def test_the_hardest_stored_cell_counts() -> None:
    stored = known(found([*VIT, CRATE]))
    (part,) = plan_samples(forecast(), Margins(default=5), stored=stored)
    assert (part.cell, part.changed, part.drop) == ("pgd-linf@8/255", pytest.approx(0.1), pytest.approx(0.1))
    assert known(part.seeds) >= 2
    assert part.needed == max(known(part.to_pass), known(part.to_show))
    with_more = with_detectable(forecast(), Margins(), stored).parts[0]
    with_less = with_detectable(forecast(samples=100), Margins(), stored).parts[0]
    assert 0.01 < known(with_more.detectable) < known(with_less.detectable)
    assert with_detectable(forecast(metric="perplexity"), Margins(), stored).parts[0].detectable is None


def test_no_number_of_samples_excludes_no_drop() -> None:
    (part,) = plan_samples(forecast(), Margins(default=0), discordance=0.1, drop=0.1)
    assert (part.to_pass, part.needed, part.seeds) == (None, None, None)
    made = SamplePlan(power=0.9, discordance=discordance_text(None, 10), parts=(part,))
    assert plain_text(sample_plan_blocks(made)).startswith("No number of samples decides both ways with 90 % power")
    for margins, drop in ((Margins(default=0), None), (Margins(default=5), 0.05)):
        with pytest.raises(UsageError, match="must exceed the margin"):
            plan_samples(forecast(), margins, drop=drop)
    with pytest.raises(UsageError, match="leave out digits"):
        plan_samples(forecast(metric="perplexity"), Margins(default=5))
