"""Published corrupted images: used in place, in the task's own order or not at all."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from robustbench_wb.api import run as harness
from robustbench_wb.cli.app import app
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import UsageError
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.source import code_digest
from robustbench_wb.spec import digest
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.corruptions.stored_corruption import StoredCorruption, picture_digests
from robustbench_wb.stressors.model_free import ModelFreeStressor
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.tasks.digits import DIGITS
from robustbench_wb.tasks.task import Split
from tests.stressors.attacked_batch import make_data


@pytest.fixture(scope="module")
def split() -> Split:
    return DIGITS.load(None).test


@pytest.fixture
def arrays(tmp_path: Path, split: Split) -> Path:
    """Folder in the layout of CIFAR-C: severity s inverts the first 60 s images, so that severities differ."""
    rows = []
    for severity in range(1, 6):
        images = split.inputs.copy()
        images[: 60 * severity] = 255 - images[: 60 * severity]
        rows.append(images.transpose(0, 2, 3, 1))
    folder = tmp_path / "digits-c"
    folder.mkdir()
    np.save(folder / "invert.npy", np.concatenate(rows))
    np.save(folder / "labels.npy", np.tile(split.labels, 5))
    return folder


def run(folder: Path, results: Path, *severities: int, recipe: str = "none") -> list[ScoreRow]:
    stressors = tuple(f"stored;corruption=invert;folder={folder};severity={severity}" for severity in severities)
    request = RunRequest(variants=("vit",), recipe=recipe, stressors=stressors, device="cpu")
    return list(harness.run(request, str(results)).rows)


@pytest.mark.slow(1)
def test_each_severity_is_its_own_part_of_the_array(arrays: Path, split: Split, tmp_path: Path) -> None:
    rows = run(arrays, tmp_path / "r", 1, 5)
    assert [(row.stressor, row.strength, row.status) for row in rows[1:]] == [
        ("stored-invert", "1", "ok"),
        ("stored-invert", "5", "ok"),
    ]
    assert len({row.perturbed for row in rows}) == 3  # none, and one for each severity
    assert str(arrays) not in rows[1].signature


def test_one_changed_pixel_is_another_identity(arrays: Path, tmp_path: Path) -> None:
    stressor = parse_stressor(f"stored;corruption=invert;folder={arrays};severity=2")
    before = stressor.code()
    other = tmp_path / "other"
    other.mkdir()
    rows = np.load(arrays / "invert.npy")
    rows[0, 0, 0, 0] ^= 1
    np.save(other / "invert.npy", rows)
    np.save(other / "labels.npy", np.load(arrays / "labels.npy"))
    assert parse_stressor(f"stored;corruption=invert;folder={other};severity=2").code() != before


def reorder(folder: Path) -> None:
    np.save(folder / "labels.npy", np.roll(np.load(folder / "labels.npy"), 1))


def shorten(folder: Path) -> None:
    np.save(folder / "invert.npy", np.load(folder / "invert.npy")[:100])


def enlarge(folder: Path) -> None:
    np.save(folder / "invert.npy", np.load(folder / "invert.npy").repeat(2, axis=1))


def truncate(folder: Path) -> None:
    np.save(folder / "invert.npy", np.load(folder / "invert.npy")[:-1])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (reorder, "another order"),
        (shorten, "holds 20 samples"),
        (enlarge, r"holds images \(1, 16, 8\)"),
        (truncate, "not five severities"),
    ],
)
def test_a_folder_that_does_not_fit_is_an_error_row(
    arrays: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(arrays)
    (row,) = run(arrays, tmp_path / "r", 1)[1:]
    assert row.status == "error"
    assert re.search(message, row.error), row.error


def test_a_missing_folder_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither .* nor .* exists"):
        parse_stressor(f"stored;corruption=fog;folder={tmp_path};severity=1")
    signature = f"stored;corruption=fog;folder={tmp_path};severity=1"
    done = CliRunner().invoke(app, ["run", "--stressor", signature, "--results", str(tmp_path / "r")])
    assert done.exit_code != 0
    assert not (tmp_path / "r").exists()


def test_pictures_in_class_folders(tmp_path: Path, split: Split) -> None:
    """Layout of ImageNet-C, for a task whose test split is ordered by class."""
    order = np.argsort(split.labels, kind="stable")
    for number, row in enumerate(order):
        place = tmp_path / "c" / "fog" / "3" / f"n{split.labels[row]:02d}" / f"{number:05d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - split.inputs[row, 0]).convert("RGB").save(place)
    stressor = parse_stressor(f"stored;corruption=fog;folder={tmp_path / 'c'};severity=3")
    assert isinstance(stressor, ModelFreeStressor)
    images = torch.tensor(split.inputs[order]).repeat(1, 3, 1, 1).float() / 255
    chosen = torch.tensor([5, 0, 359])
    batch = SampleBatch(inputs=images[chosen], labels=torch.tensor(split.labels[order])[chosen], ids=chosen, seed=0)
    expected = 255 - split.inputs[order][chosen.numpy()].repeat(3, axis=1)
    assert (make_data(stressor, batch).inputs == expected).all()


def test_a_second_start_reads_only_changed_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))
    paths = [tmp_path / "fog" / "1" / place for place in ("a/1.png", "a/2.png", "b/0.png")]
    for level, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (level, level, level)).save(path)
    stressor = parse_stressor(f"stored;corruption=fog;folder={tmp_path};severity=1")
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    before = stressor.code()
    assert before == digest([code_digest(StoredCorruption.__module__), *contents])

    read: list[Path] = []
    read_bytes = Path.read_bytes

    def counted(path: Path) -> bytes:
        read.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    picture_digests.cache_clear()  # as in another process
    assert stressor.code() == before
    assert read == []
    Image.new("RGB", (4, 4), (9, 9, 9)).save(paths[1])
    picture_digests.cache_clear()
    assert stressor.code() != before
    assert read == [paths[1]]
