"""Whole runs on labels of pixels: mean IoU by hand, attacks on all images, reuse, comparison, and what is refused."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from deltalake import DeltaTable, write_deltalake
from PIL import Image

from robustbench_wb.api import run as harness
from robustbench_wb.api.compare import compare
from robustbench_wb.api.doctor import doctor
from robustbench_wb.api.gate import gate
from robustbench_wb.api.report import report
from robustbench_wb.api.verify import verify
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import UsageError
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.records.record import PIXELS_VERSION, State
from robustbench_wb.report.comparison import comparison_blocks
from robustbench_wb.report.scores import score_blocks
from robustbench_wb.report.text_block import plain_text
from robustbench_wb.stats.pixel_counts import image_iou
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.tasks.catalogue import find_task
from tests.known import known
from tests.tasks.scenes import write_scenes

TASK = "scattered-digits"
SEGPGD = "segpgd-linf;steps=2"


def request(**more: object) -> RunRequest:
    given: dict[str, object] = {"suite": "clean", "tasks": (TASK,), "variants": ("vit",), "recipe": "none"}
    return RunRequest.model_validate({**given, "samples": 24, "device": "cpu", **more})


def test_mean_iou_can_be_worked_out_by_hand(tmp_path: Path) -> None:
    (row,) = harness.run(request(), results=str(tmp_path)).rows
    assert (row.metric, row.n, row.status, row.classes, row.side, row.least_iou) == ("accuracy", 24, "ok", 11, 40, 0.5)
    (record,) = RecordStore(str(tmp_path)).find([row.key]).values()
    data = find_task(TASK).load(None)
    mean, std = data.train.moments()
    model = build(VARIANTS.get("vit"), "nano", data.shape, seed=0, mean=mean, std=std).eval()
    hits, unions, ious, losses = np.zeros(11), np.zeros(11), [], []
    for image, label in zip(data.test.inputs[record.ids], data.test.labels[record.ids], strict=True):
        with torch.no_grad():
            logits = model(torch.from_numpy(np.asarray(image))[None].float() / 255)[0]
        answer, own = logits.argmax(0).numpy(), []
        for one in range(11):
            both, either = ((label == one) & (answer == one)).sum(), ((label == one) | (answer == one)).sum()
            hits[one], unions[one] = hits[one] + both, unions[one] + either
            own += [both / either] if (label == one).any() else []
        ious.append(np.mean(own))
        chances = logits.double().log_softmax(0).gather(0, torch.from_numpy(label.astype(np.int64))[None])
        losses.append(-chances.mean().item())
    assert record.pixels is not None
    np.testing.assert_allclose(image_iou(record.pixels), ious)
    np.testing.assert_array_equal(record.states == State.ROBUST, np.array(ious) >= 0.5)
    np.testing.assert_allclose(record.losses, losses, rtol=1e-5)
    labelled = np.array([(data.test.labels[record.ids] == one).any() for one in range(11)])
    assert row.miou == pytest.approx(np.mean((hits / unions)[labelled]))
    assert (row.miou_low or 1) <= (row.miou or 0) <= (row.miou_high or 0)
    assert row.pixel_accuracy == pytest.approx(hits.sum() / (24 * 40 * 40))


def test_attacks_try_every_image_and_stronger_ones_leave_less(tmp_path: Path) -> None:
    asked = request(stressors=(SEGPGD, "pixel-ensemble-linf;steps=2"), epsilons=("2/255", "16/255"))
    found = harness.run(asked, results=str(tmp_path))
    rows = {row.cell: row for row in found.rows}
    assert len(rows) == 5
    records = RecordStore(str(tmp_path)).find([row.key for row in found.rows])
    for name in ("segpgd-linf", "pixel-ensemble-linf"):
        clean, near, far = (rows[cell] for cell in ("clean", f"{name}@2/255", f"{name}@16/255"))
        assert near.forwards == far.forwards > 3
        ious = [image_iou(pixels) for row in (clean, near, far) if (pixels := records[row.key].pixels) is not None]
        assert (np.diff(ious, axis=0) <= 1e-12).all()
        assert ious[2].mean() < ious[0].mean()
        assert {row.wobble for row in (clean, near, far)} == {0}
        assert near.grade in ("B", "C")
    (panel,) = found.headline.panels
    by_name = dict(zip((column.name for column in panel.columns), panel.rows[0].numbers, strict=True))
    worst = by_name["Linf 16/255"].miou
    assert worst is not None
    assert worst <= min(rows[f"{name}@16/255"].miou or 0 for name in ("segpgd-linf", "pixel-ensemble-linf")) + 0.01
    assert "Mean IoU (%) on scattered-digits [95 % bootstrap interval over images]" in str(found)
    assert f"{100 * worst:.1f} [" in str(found)


def test_records_are_reused_verified_and_earlier_releases_refuse_them(tmp_path: Path) -> None:
    place = str(tmp_path)
    asked = request(stressors=("gaussian-noise;severity=3",), batch=5)
    first = harness.run(asked, results=place)
    again = harness.run(asked.model_copy(update={"batch": 24}), results=place)
    assert (first.measured, again.reused) == (2, 2)
    assert {record.identity.schema_version for record in RecordStore(place).find([first.rows[0].key]).values()} == {
        PIXELS_VERSION
    }
    assert verify("latest", place).exit_code == 0
    text = plain_text(score_blocks(first.rows))
    assert "accuracy: share of images whose mean IoU over their own classes is at least 0.5" in text
    assert f"{100 * (first.rows[1].miou or 0):.1f} [" in text
    table = DeltaTable(f"{place}/records")
    rows = table.to_pyarrow_table().to_pylist()
    rows[0]["pixels"][2] += 1
    write_deltalake(
        table,
        type(table.to_pyarrow_table()).from_pylist(rows, schema=table.to_pyarrow_table().schema),
        mode="overwrite",
    )
    assert "was changed after it was written" in " ".join(RecordStore(place).damaged())


BRIGHT = """
import torch


class Bright(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(8.0))

    def forward(self, images):
        ink = self.scale * (images.mean(1, keepdim=True) - 0.5)
        return torch.cat([-ink, ink], 1)


def make(shape):
    return Bright()
"""
"""Segmentation model of two classes: dark and bright pixels."""


def test_masks_are_in_the_gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bright.py").write_text(BRIGHT)
    write_scenes(tmp_path / "scenes", count=6)
    model, task = "bright.py:make", "folder-segmentation:scenes;size=16"
    found = harness.run(
        request(tasks=(task,), variants=(model,), stressors=("segpgd-linf;steps=8",), epsilons=("1/4", "1/2"))
    )
    outcomes = {row.cell: (row.miou, row.robust, row.broken) for row in found.rows}
    assert outcomes["clean"] == (1.0, 6, 0)
    assert outcomes["segpgd-linf@1/2"][2] == 6
    (gallery,) = report(gallery=True, variants=[model]).gallery
    views = gallery.samples[0].images
    assert [caption.split(" x ")[0] for _, caption in views] == [
        *("clean", "perturbed", "difference", "label", "prediction")
    ]
    label = np.asarray(Image.open(io.BytesIO(base64.b64decode(views[3][0].partition(",")[2]))))
    np.testing.assert_array_equal(label[..., 0] == 128, find_task(task).load(None).test.labels[0] == 1)
    assert "has mean IoU 0." in gallery.samples[0].broken
    assert "label" in report(gallery=True, variants=[model]).html()


def test_diff_and_gate_see_a_model_that_got_worse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_scenes(tmp_path / "scenes", count=40)
    asked = request(tasks=("folder-segmentation:scenes;size=16",), variants=("bright.py:make",), samples=40)
    for middle in ("0.5", "0.15"):  # the second model takes half of the ground for bright
        Path("bright.py").write_text(BRIGHT.replace("- 0.5)", f"- {middle})"))
        (row,) = harness.run(asked).rows
    assert (row.miou or 1) < 0.5
    (pair,) = compare("v1", "v2").pairs
    assert (pair.verdict, pair.lost, pair.gained) == ("worse", 40, 0)
    (change,) = pair.changes
    old, new = known(pair.old.miou), known(pair.new.miou)
    assert (change.score, change.difference) == ("miou", pytest.approx(new - old))
    assert change.low <= change.difference <= change.high < -0.4
    assert change.p == 1 / 2_000
    assert f"{100 * old:.1f} -> {100 * new:.1f}, {100 * change.difference:.1f} [" in plain_text(
        comparison_blocks(compare("v1", "v2"))
    )
    assert (gate("v1", "v1").exit_code, gate("v1", "v2").exit_code) == (0, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stressors": ("pgd-linf;eps=8/255",)}, "use suite 'adversarial-segmentation'"),
        ({"stressors": ("label-noise;rate=1/5;noise=symmetric",)}, "changes the class of an image"),
        ({"tasks": ("digits",), "stressors": ("segpgd-linf;eps=8/255",)}, "attacks labels of pixels"),
        ({"recipe": "standard;shift=2"}, "do not move with the image"),
        ({"balanced": True}, "has no classes; leave balanced out"),
    ],
)
def test_what_does_not_fit_labels_of_pixels_is_refused(change: dict[str, object], reason: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=reason):
        harness.run(request(**change), results=str(tmp_path))


def test_the_doctor_refuses_what_it_does_not_examine() -> None:
    with pytest.raises(UsageError, match="has a class for each pixel"):
        doctor(variants=("vit",), tasks=(TASK,))


@pytest.mark.parametrize(
    ("recipe", "stressors"),
    [
        ("standard", ("training-outliers;rate=1/4",)),
        pytest.param("pgd-at", (), marks=pytest.mark.slow),
        pytest.param("trades", (), marks=pytest.mark.slow),
    ],
)
def test_recipes_train_on_labels_of_pixels(recipe: str, stressors: tuple[str, ...], tmp_path: Path) -> None:
    asked = request(recipe=f"{recipe};epochs=4;train_samples=64;batch=16", stressors=stressors)
    rows = harness.run(asked, results=str(tmp_path)).rows
    assert {row.status for row in rows} == {"ok"}
    assert all(row.train_seconds > 0 for row in rows)
    assert (rows[0].pixel_accuracy or 0) > 0.7  # the ground has 86 % of the pixels; untrained models find 10 %
