"""Runs whose records keep outputs of the model: calibration, and detection of out-of-distribution images."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from deltalake import DeltaTable, write_deltalake
from sklearn.metrics import roc_auc_score

from robustbench_wb.analysis.compare.compare_tables import compare_tables
from robustbench_wb.analysis.compare.score_changes import score_changes, with_score_changes
from robustbench_wb.api import run as harness
from robustbench_wb.api.verify import verify
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import UsageError
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.records.record import OUTPUTS_VERSION, SAMPLES_VERSION, Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.comparison import comparison_blocks
from robustbench_wb.report.csv import comparison_csv
from robustbench_wb.report.scores import score_blocks
from robustbench_wb.report.text_block import plain_text
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.out_of_distribution.out_of_distribution import OutOfDistribution
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.tasks.catalogue import find_task
from tests.known import known
from tests.stats.test_calibration import looped

SUITE = """
name = "asks"
version = 1
summary = "Calibration of clean and corrupted images, and an attack."
calibration = {asks}

[[stressors]]
use = "clean"

[[stressors]]
use = "contrast;severity=5"

[[stressors]]
use = "fgsm-linf;eps=8/255"

[scales.smoke]
samples = 30
size = "nano"
"""


def request(suite: str, **more: object) -> RunRequest:
    given: dict[str, object] = {"suite": suite, "tasks": ("digits",), "variants": ("vit",), "recipe": "none"}
    return RunRequest.model_validate({**given, "samples": 30, "device": "cpu", "executor": "inline", **more})


def suite(folder: Path, *, asks: bool) -> str:
    path = folder / f"asks-{asks}.toml"
    path.write_text(SUITE.format(asks=str(asks).lower()), encoding="utf-8")
    return str(path)


def logits(images: np.ndarray) -> torch.Tensor:
    """Logits of the untrained model of the runs below."""
    data = find_task("digits").load(None)
    mean, std = data.train.moments()
    model = build(VARIANTS.get("vit"), "nano", data.shape, seed=0, mean=mean, std=std).eval()
    with torch.no_grad():
        return model(torch.from_numpy(np.asarray(images)).float() / 255).double()


def stored(place: str, key: str) -> Record:
    (record,) = RecordStore(place).find([key]).values()
    return record


def test_calibration_can_be_worked_out_by_hand(tmp_path: Path) -> None:
    place = str(tmp_path)
    clean, corrupted, attacked = harness.run(request(suite(tmp_path, asks=True)), results=place).rows
    record = stored(place, clean.key)
    data = find_task("digits").load(None)
    chances = logits(data.test.inputs[record.ids]).softmax(1).numpy()
    labels = data.test.labels[record.ids]
    scores = ((chances - np.eye(10)[labels]) ** 2).sum(1)
    np.testing.assert_allclose(known(record.calibration), np.stack([chances.max(1), scores], 1), rtol=1e-4)
    assert clean.brier == pytest.approx(scores.mean(), rel=1e-4)
    assert clean.ece == pytest.approx(looped(chances.max(1), chances.argmax(1) == labels), abs=1e-5)
    assert known(clean.ece_low) <= known(clean.ece) <= known(clean.ece_high)
    assert known(corrupted.brier_low) < known(corrupted.brier) < known(corrupted.brier_high)
    # An attack does not try samples that are wrong when clean.
    assert (attacked.ece, attacked.brier, attacked.auroc) == (None, None, None)
    text = plain_text(score_blocks([clean, corrupted, attacked]))
    assert f"{100 * known(clean.ece):.1f} [{100 * known(clean.ece_low):.1f}, " in text
    assert f"{known(corrupted.brier):.3f} [" in text


def test_suites_that_do_not_ask_keep_their_keys_and_the_others_are_reused_and_verified(tmp_path: Path) -> None:
    place = str(tmp_path)
    plain = harness.run(request(suite(tmp_path, asks=False)), results=place)
    asked = harness.run(request(suite(tmp_path, asks=True), batch=7), results=place)
    again = harness.run(request(suite(tmp_path, asks=True), batch=30), results=place)
    assert (plain.measured, asked.measured, asked.reused, again.reused) == (3, 2, 1, 3)
    versions = [stored(place, row.key).identity.schema_version for row in (*plain.rows, *asked.rows)]
    assert versions == [SAMPLES_VERSION] * 3 + [OUTPUTS_VERSION] * 2 + [SAMPLES_VERSION]
    assert all(row.ece is None for row in plain.rows)
    for one, other in zip(plain.rows, asked.rows, strict=True):
        np.testing.assert_array_equal(stored(place, one.key).states, stored(place, other.key).states)
    assert verify("latest", place).exit_code == 0
    table = DeltaTable(f"{place}/records")
    rows = table.to_pyarrow_table().to_pylist()
    next(row for row in rows if row["calibration"])["calibration"][0] /= 2
    content = type(table.to_pyarrow_table()).from_pylist(rows, schema=table.to_pyarrow_table().schema)
    write_deltalake(table, content, mode="overwrite")
    assert "was changed after it was written" in " ".join(RecordStore(place).damaged())
    assert verify("latest", place).exit_code == 5


@pytest.mark.slow(3)
def test_a_comparison_lists_changes_for_information(tmp_path: Path) -> None:
    sides = [str(tmp_path / name) for name in ("old", "new")]
    first, second = (
        harness.run(request(suite(tmp_path, asks=True), variants=(name,)), results=side).rows
        for name, side in zip(("vit", "crate"), sides, strict=True)
    )
    renamed = [row.model_copy(update={"variant": "vit"}) for row in second]
    records = {key: record for side in sides for key, record in RecordStore(side).find(keys(first, second)).items()}
    found = with_score_changes(compare_tables(first, renamed, records, allow=("model_code", "weights")), records)
    clean, corrupted, attacked = found.pairs
    for pair in (clean, corrupted):
        old, new = (known(records[row.key].calibration)[:, 1].astype(np.float64) for row in (pair.old, pair.new))
        changes = {change.score: change for change in pair.changes}
        assert changes.keys() == {"ece", "brier"}
        brier = changes["brier"]
        assert brier.difference == pytest.approx(known(pair.new.brier) - known(pair.old.brier))
        # By hand: the t interval of the paired differences.
        reach = 2.045 * (new - old).std(ddof=1) / 30**0.5
        assert brier.high - brier.low == pytest.approx(2 * reach, rel=0.15)
        assert changes["ece"].difference == pytest.approx(known(pair.new.ece) - known(pair.old.ece))
    assert attacked.changes == ()
    text = plain_text(comparison_blocks(found))
    assert "they have no part in the verdicts" in text
    brier = next(change for change in clean.changes if change.score == "brier")
    shown = f"{known(first[0].brier):.3f} -> {known(second[0].brier):.3f}"
    assert f"{shown}, {brier.difference:.3f} [{brier.low:.3f}, {brier.high:.3f}]" in text
    assert "they have no part" not in plain_text(comparison_blocks(compare_tables(first, first, records)))
    line = next(one for one in csv.DictReader(comparison_csv(found).splitlines()) if one["unit"] == "cell")
    assert (float(line["brier_change"]), float(line["brier_change_low"])) == (brier.difference, brier.low)
    assert (line["auroc_change"], line["miou_p"]) == ("", "")
    assert found.to_pandas()["ece_change"].notna().tolist() == [True, True, False]
    # A sample that one side did not judge: what is left would be easier.
    lost = records[second[0].key]
    states = lost.states.copy()
    states[3] = State.ERRORED
    assert score_changes(records[first[0].key], replace(lost, states=states)) == ()
    assert score_changes(records[first[0].key], None) == ()


def keys(*tables: Sequence[ScoreRow]) -> list[str]:
    return [row.key for rows in tables for row in rows]


def test_detection_can_be_worked_out_by_hand(tmp_path: Path) -> None:
    place = str(tmp_path)
    found = harness.run(request("ood-detection"), results=place)
    data = find_task("digits").load(None)
    for row in found.rows[1:]:
        record = stored(place, row.key)
        ids = torch.from_numpy(record.ids.astype(np.int64))
        images = torch.from_numpy(np.asarray(data.test.inputs[record.ids]))
        stressor = parse_stressor(row.signature)
        assert isinstance(stressor, OutOfDistribution)
        outside = stressor.perturb(images, ids, 0)
        largest = np.stack([logits(images.numpy()).amax(1), logits(outside.numpy()).amax(1)], 1)
        np.testing.assert_allclose(known(record.max_logits), largest, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(record.states == State.ROBUST, largest[:, 0] > largest[:, 1])
        np.testing.assert_allclose(record.losses, np.log1p(np.exp(largest[:, 1] - largest[:, 0])), rtol=1e-4)
        assert row.auroc == pytest.approx(roc_auc_score(np.repeat([1, 0], 30), largest.T.ravel()))
    again = harness.run(request("ood-detection", batch=7), results=place)
    assert again.reused == 4
    assert verify("latest", place, rerun=10).exit_code == 0
    assert "accuracy under ood-*: share of samples whose largest logit" in plain_text(score_blocks(found.rows))
    assert "AUROC of the largest logit (%), on digits" in str(found)


@pytest.mark.parametrize("name", ["ood-uniform-noise", "ood-blobs", "ood-shuffled-pixels"])
def test_outside_images_depend_on_seed_and_id_alone(name: str) -> None:
    stressor = parse_stressor(name)
    images = torch.randint(0, 256, (6, 3, 20, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    ids = torch.tensor([4, 9, 2, 30, 31, 32])

    def made(rows: list[int], seed: int = 0) -> torch.Tensor:
        batch = SampleBatch(
            inputs=images[rows].float() / 255, labels=torch.zeros(len(rows)).long(), ids=ids[rows], seed=seed
        )
        return stressor.apply(batch, ModelAccess(model=torch.nn.Identity(), batch_size=8)).inputs

    whole = made(list(range(6)))
    torch.testing.assert_close(made([4, 1]), whole[[4, 1]], rtol=0, atol=0)
    assert not torch.equal(made([0], seed=1), whole[[0]])
    assert not torch.equal(whole[3], whole[4])
    if name == "ood-shuffled-pixels":
        before = (images.float() / 255).flatten(2).transpose(1, 2)
        pairs = zip(before, whole.flatten(2).transpose(1, 2), strict=True)
        assert all(sorted(old.tolist()) == sorted(new.tolist()) for old, new in pairs)
    if name == "ood-blobs":
        assert set(whole.unique().tolist()) == {0, 1}
        assert whole.mean() == pytest.approx(0.5, abs=0.02)
        assert (whole[..., 1:] == whole[..., :-1]).float().mean() > 0.75  # shapes, not noise


def test_labels_of_pixels_have_no_detection(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="largest logit of whole images"):
        harness.run(request("ood-detection", tasks=("scattered-digits",)), results=str(tmp_path))
