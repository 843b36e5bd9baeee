"""The layers of a subject through the front door, in this process."""

import numpy as np
import pytest
import torch

from robustbench_wb.api.layers import layers as layers_of
from robustbench_wb.engine import layers as engine_layers
from robustbench_wb.engine.layers import SubjectLayers
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.task_samples import choose_samples
from robustbench_wb.errors import MeasurementError, UsageError
from robustbench_wb.layers.table import MEASURES
from robustbench_wb.models.backbone import Transformer
from robustbench_wb.progress import SilentProgress
from robustbench_wb.report.layers import layer_blocks, layers_json
from robustbench_wb.stressors.model_access import ModelAccess, predict
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch

FGSM = "fgsm-linf;eps=8/255"


def request(**changes: object) -> RunRequest:
    fields = {"suite": "clean", "variants": ("crate",), "recipe": "none", "samples": 50, "device": "cpu"}
    return RunRequest.model_validate({**fields, **changes})


@pytest.fixture(scope="module")
def found() -> SubjectLayers:
    return layers_of(request(stressors=(FGSM,)))


def test_clean_layers_are_those_of_all_samples(found: SubjectLayers) -> None:
    assert (found.task, found.variant, found.size, found.recipe, found.seed) == ("digits", "crate", "nano", "none", 0)
    assert found.clean.layers == 4
    assert len(found.clean.ids) == 50
    first = {name: table[:1] if name.startswith("cross") else table for name, table in found.clean.values.items()}
    assert first.keys() == MEASURES.keys()
    assert all(np.isfinite(table).all() for table in first.values())


def test_an_attack_is_given_the_samples_that_are_right(found: SubjectLayers) -> None:
    job = PreparedRun(request(), SilentProgress())
    model = job.obtain(job.plan.tasks[0].subjects[0], job.datasets[0]).model
    samples = choose_samples(job.datasets[0], 50)
    logits = predict(model, torch.from_numpy(samples.inputs).float() / 255, 50)
    right = samples.ids[(logits.argmax(1).numpy() == samples.labels)]
    (one,) = found.stressed
    assert one.signature == FGSM
    assert 0 < len(right) < 50
    assert one.stressed.ids.tolist() == one.clean.ids.tolist() == right.tolist()
    assert one.drift["entropy"].pairs.tolist() == [len(right)] * 4
    moved = one.stressed.values["stream_rate"] - one.clean.values["stream_rate"]
    np.testing.assert_allclose(one.drift["stream_rate"].mean, moved.mean(axis=1))
    assert (moved != 0).all()


@pytest.mark.parametrize("shard", [7, 1 << 28])
def test_shards_and_batches_change_nothing(shard: int, found: SubjectLayers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustbench_wb.engine.task_samples.BATCH_BYTES", shard)
    again = layers_of(request(stressors=(FGSM,), batch=11))
    for before, after in ((found.clean, again.clean), (found.stressed[0].stressed, again.stressed[0].stressed)):
        assert before.ids.tolist() == after.ids.tolist()
        for name in MEASURES:
            np.testing.assert_allclose(before.values[name], after.values[name], rtol=1e-3, atol=1e-4)


def test_a_missing_file_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match="does not exist"):
        layers_of(request(variants=("nowhere.py:make",)))


def test_a_stressor_that_fails_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from robustbench_wb.stressors.attacks.fgsm import FgsmLinf

    def wild(self: FgsmLinf, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        none = np.zeros(len(batch.ids), np.int32)
        return PerturbedBatch(inputs=batch.inputs + 1.0, forwards=none, backwards=none)

    monkeypatch.setattr(FgsmLinf, "apply", wild)
    with pytest.raises(MeasurementError, match="left the pixel range"):
        layers_of(request(stressors=(FGSM,)))


def test_an_attack_with_nothing_to_try_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def backwards(model: Transformer, images: torch.Tensor, batch: int) -> torch.Tensor:
        return torch.full((len(images), 11), 0.0).index_fill(1, torch.tensor([10]), 1.0)

    monkeypatch.setattr(engine_layers, "predict", backwards)
    with pytest.raises(UsageError, match="nothing to try"):
        layers_of(request(stressors=(FGSM,)))


def test_what_is_not_defined_is_a_gap_and_not_a_number(found: SubjectLayers) -> None:
    values = dict(found.clean.values)
    values["entropy"] = np.full_like(values["entropy"], np.nan)
    values["snr_gain"] = values["snr_gain"].copy()
    values["snr_gain"][1, :3] = np.nan
    clean = type(found.clean)(found.clean.ids, values)
    gaps = SubjectLayers(task="t", variant="v", size="", recipe="r", seed=0, clean=clean, stressed=())
    (block,) = layer_blocks(gaps)
    assert block.title.startswith("v on t")
    assert block.notes[1:] == (
        "entropy: not defined for this model",
        "snr_gain: defined for as few as 47 samples in a layer",
        "cross_share: defined in 1 of 4 layers",
        "cross_shift: defined in 1 of 4 layers",
    )
    assert "entropy" not in [row[0] for row in block.rows]
    text = layers_json(gaps)
    assert "NaN" not in text
    assert '"defined": [\n          50,\n          47,' in text
