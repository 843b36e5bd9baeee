"""Prefixes in language modelling: where they stand, what is scored, and perplexities worked out by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from robustbench_wb.api import run as harness
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.task_samples import choose_samples
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.contamination.prefix_lm import PrefixLm
from robustbench_wb.stressors.model_free import PerturbedData
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.tasks.sentences import SENTENCES_LM
from tests.known import known


def batch_of(count: int = 6) -> SampleBatch:
    samples = choose_samples(SENTENCES_LM.load(None), count)
    return SampleBatch(
        inputs=torch.from_numpy(samples.inputs.astype(np.int64)),
        labels=torch.zeros(count).long(),
        ids=torch.from_numpy(samples.ids.astype(np.int64)),
        seed=0,
        text=samples.text,
        language=True,
        split=samples.split,
        shape=samples.shape,
    )


def made(signature: str, batch: SampleBatch) -> PerturbedData:
    stressor = parse_stressor(signature)
    assert isinstance(stressor, PrefixLm)
    return stressor.make(batch, lambda count: None)


def rows_of(found: PerturbedData) -> NDArray[Any]:
    assert found.inputs is not None
    return found.inputs


@pytest.mark.parametrize("content", ["foreign", "random"])
def test_the_prefix_moves_the_own_tokens_which_alone_are_scored(content: str) -> None:
    batch = batch_of()
    tokens, width = batch.inputs.numpy(), batch.inputs.shape[1]
    size = width // 4
    found = made(f"prefix-lm;rate=1/4;content={content}", batch)
    rows, counted = rows_of(found), known(found.counted)
    np.testing.assert_array_equal(rows[:, size:], tokens[:, : width - size])
    assert counted.sum(1).tolist() == [width - size - 1] * 6
    assert counted[:, size + 1 :].all()
    assert set((found.changed / found.units).tolist()) == {0.25}
    every = known(batch.split).inputs
    if content == "foreign":
        for row, own in zip(rows, batch.ids.tolist(), strict=True):
            matches = np.flatnonzero((every[:, :size] == row[:size]).all(1))
            assert set(matches.tolist()) - {own}
    one = replace(batch, inputs=batch.inputs[[2]], labels=batch.labels[[2]], ids=batch.ids[[2]])
    np.testing.assert_array_equal(rows_of(made(f"prefix-lm;rate=1/4;content={content}", one))[0], rows[2])


def test_the_control_scores_the_same_tokens_of_unchanged_rows() -> None:
    batch = batch_of()
    with_prefix, control = made("prefix-lm;rate=1/4", batch), made("prefix-lm;rate=1/4;content=none", batch)
    np.testing.assert_array_equal(rows_of(control), batch.inputs.numpy())
    scored = [rows_of(one)[known(one.counted)] for one in (with_prefix, control)]
    np.testing.assert_array_equal(scored[0], scored[1])
    with pytest.raises(MeasurementError, match="leaves 1 of"):
        made("prefix-lm;rate=31/32", batch)


def test_perplexity_can_be_worked_out_by_hand(tmp_path: Path) -> None:
    stressors = ("prefix-lm;rate=1/4", "prefix-lm;rate=0;content=none")
    request = RunRequest(
        suite="clean", tasks=("sentences-lm",), variants=("bert",), recipe="none", stressors=stressors, samples=6,
        device="cpu",
    )  # fmt: skip
    clean, prefixed, control = harness.run(request, str(tmp_path)).rows
    assert control.perplexity == pytest.approx(clean.perplexity, rel=1e-6)
    found = made("prefix-lm;rate=1/4", batch_of())
    data = SENTENCES_LM.load(None)
    model = build(VARIANTS.get("bert"), "nano", data.shape, seed=0).eval()
    losses = []
    for row, counted in zip(rows_of(found).astype(np.int64), known(found.counted), strict=True):
        with torch.no_grad():
            logits = model(torch.from_numpy(row)[None])[0].double()
        each = F.cross_entropy(logits[:-1], torch.from_numpy(row[1:]), reduction="none").numpy()
        losses.append(each[counted[1:]].mean())
    assert prefixed.perplexity == pytest.approx(np.exp(np.mean(losses)), rel=1e-4)
    (record,) = RecordStore(str(tmp_path)).find([prefixed.key]).values()
    np.testing.assert_allclose(record.token_losses, losses, rtol=1e-4)
