"""Whole runs on texts: classification, next tokens, and what texts cannot be put through."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from robustbench_wb.api import run as harness
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import UsageError
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.records.record import State
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.tasks.catalogue import find_task


def request(task: str, **more: object) -> RunRequest:
    given = {
        "suite": "clean",
        "tasks": (task,),
        "variants": ("bert",),
        "recipe": "none",
        "samples": 60,
        "device": "cpu",
    }
    return RunRequest(**{**given, **more})


@pytest.mark.parametrize("variant", ["bert", "crate", "bilateral-boosting"])
def test_texts_are_classified_whatever_the_batch(variant: str, tmp_path: Path) -> None:
    report = harness.run(request("sentences", variants=(variant,), batch=7), results=str(tmp_path / "a"))
    (row,) = report.rows
    assert (row.metric, row.n, row.status, row.wobble) == ("accuracy", 60, "ok", 0)
    other = harness.run(request("sentences", variants=(variant,), batch=60), results=str(tmp_path / "b"))
    assert other.rows[0].accuracy == row.accuracy
    assert other.rows[0].key == row.key


def test_a_language_model_has_a_perplexity_that_can_be_worked_out_by_hand(tmp_path: Path) -> None:
    report = harness.run(request("sentences-lm"), results=str(tmp_path))
    (row,) = report.rows
    assert (row.metric, row.accuracy, row.status) == ("perplexity", None, "ok")
    (record,) = RecordStore(str(tmp_path)).find([row.key]).values()
    assert set(record.states) == {State.SCORED}
    data = find_task("sentences-lm").load(None)
    model = build(VARIANTS.get("bert"), "nano", data.shape, seed=0).eval()
    losses = []
    with torch.no_grad():
        for tokens in torch.from_numpy(np.asarray(data.test.inputs)[record.ids].astype(np.int64)):
            chances = model(tokens[None])[0].double().log_softmax(-1)
            losses.append(-chances[:-1].gather(1, tokens[1:, None]).mean().item())
    np.testing.assert_allclose(record.losses, losses, atol=1e-5)
    assert row.perplexity == pytest.approx(math.exp(np.mean(losses)), rel=1e-5)
    again = harness.run(request("sentences-lm"), results=str(tmp_path))
    assert again.reused == 1


def test_attacks_on_pixels_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'noise-linf' perturbs images, and task 'sentences' has none"):
        harness.run(request("sentences", suite="adversarial"), results=str(tmp_path / "r"))
    assert not (tmp_path / "r").exists()


@pytest.mark.slow(2)
def test_a_model_of_your_own_gets_token_ids(tmp_path: Path) -> None:
    (tmp_path / "bag.py").write_text(
        "from torch import nn\n"
        "class Bag(nn.Module):\n"
        "    def __init__(self, shape):\n"
        "        super().__init__()\n"
        "        self.words = nn.EmbeddingBag(shape.vocabulary, shape.classes, padding_idx=0)\n"
        "    def forward(self, tokens):\n"
        "        return self.words(tokens)\n"
        "def make(shape):\n"
        "    return Bag(shape)\n"
    )
    losses = {}
    for recipe in ("none", "standard"):
        variants, place = (f"{tmp_path}/bag.py:make",), str(tmp_path / recipe)
        report = harness.run(request("sentences", variants=variants, recipe=recipe, samples=360), results=place)
        (record,) = RecordStore(place).find([report.rows[0].key]).values()
        losses[recipe] = float(record.losses.mean())
    assert losses["standard"] < losses["none"]
