"""Adversarial examples in the gallery: real runs whose samples the report perturbs again."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from robustbench_wb.api import run as harness
from robustbench_wb.api.report import report
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.report.html.gallery import SIDE, Gallery, png_data_url, text_pieces
from robustbench_wb.report.html.page import report_page
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.tasks.catalogue import find_task


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def levels(source: str) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))).astype(np.int64)


def measured(**asked: object) -> Gallery:
    request = RunRequest.model_validate({"variants": ("vit",), "recipe": "none", "device": "cpu", **asked})
    harness.run(request)
    contents = report(gallery=True)
    assert report_page(contents).count("<del>") == sum(
        piece.kind == "gone" for picture in contents.gallery[0].samples for piece in picture.text
    )
    (found,) = contents.gallery
    return found


@pytest.mark.slow(1)
@pytest.mark.parametrize("stressor", ["fgsm-linf", "pgd-linf;steps=5"])
def test_images_are_those_that_broke_the_subject(stressor: str, here: Path) -> None:
    """Of two radii that are attacked one after the other, or at once: what broke at the smaller stands."""
    found = measured(stressors=(stressor,), epsilons=("16/255", "64/255"), samples=120)
    record = next(iter(RecordStore("results").find([row.key for row in report().rows if row.broken][-1:]).values()))
    fallen = record.ids[record.states == 1].tolist()
    assert found.title.endswith("@64/255")
    assert len(found.samples) == len(fallen) > 3
    dataset = find_task("digits").load(None)
    for sample, picture in zip(fallen, found.samples, strict=True):
        (clean, _), (perturbed, _), (difference, factor) = picture.images
        label = dataset.classes[int(dataset.test.labels[sample])]
        assert picture.name == f"sample {sample}, class {label}"
        assert picture.broken.startswith("broken for all models; vit-nano predicts ")
        assert not picture.broken.endswith(f" {label}")
        assert np.array_equal(levels(clean), dataset.test.inputs[sample][0])
        moved = levels(perturbed) - levels(clean)
        assert 0 < abs(moved).max() <= 64
        scale = float(factor.removeprefix("difference x "))
        assert abs(levels(difference) - 127.5 - scale * moved).max() <= 1 + scale / 2


@pytest.mark.slow(1)
def test_texts_are_marked_where_they_changed(here: Path) -> None:
    found = measured(tasks=("sentences",), stressors=("word-swap;rate=1/2",), samples=60)
    dataset = find_task("sentences").load(None)
    assert len(found.samples) > 3
    for picture in found.samples:
        sample = int(picture.name.split(",")[0].removeprefix("sample "))
        assert "".join(piece.text for piece in picture.text if piece.kind != "new") == dataset.test.texts[sample]
        assert any(piece.kind == "new" for piece in picture.text)


def test_a_subject_that_is_another_now_is_named_and_its_samples_stay_clean(here: Path) -> None:
    model = "from torch import nn\n\ndef make(shape):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10{}))\n"
    (here / "model.py").write_text(model.format(""))
    harness.run(RunRequest(variants=("model.py:make",), recipe="none", stressors=("fgsm-linf;eps=64/255",), samples=60))
    (here / "model.py").write_text(model.format(", bias=False"))
    (found,) = report(gallery=True, variants=("model.py:make",)).gallery
    assert "some perturbed samples are not available" in found.note
    assert "model_code" in found.note
    assert {len(picture.images) for picture in found.samples} == {1}


@given(st.text("ab .é<", max_size=30), st.text("ab .é<", max_size=30))
def test_pieces_hold_both_texts(old: str, new: str) -> None:
    found = text_pieces(old, new)
    assert "".join(piece.text for piece in found if piece.kind != "new") == old
    assert "".join(piece.text for piece in found if piece.kind != "gone") == new
    assert (old == new) == all(piece.kind == "same" for piece in found)


def test_large_images_are_made_smaller() -> None:
    assert levels(png_data_url(np.zeros((3, 300, 200), np.uint8))).shape == (SIDE, 85, 3)
