"""Perturbed samples are made once, shared by all subjects, bound to what they depend on, and can be made again."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from robustbench_wb.api import run as harness
from robustbench_wb.engine import perturbed_cache, shared_rounds
from robustbench_wb.engine.perturbed_cache import PerturbedCache
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.task_context import task_contexts
from robustbench_wb.engine.task_samples import TaskSamples
from robustbench_wb.errors import ExitCode, UsageError
from robustbench_wb.folders import cache_folder
from robustbench_wb.progress import SilentProgress
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.source import PACKAGE_ROOT
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.corruptions.gaussian_noise import GaussianNoise
from robustbench_wb.stressors.model_free import ModelFreeStressor
from tests.engine.linear_model import LINEAR

NOISE = ("gaussian-noise;severity=2", "gaussian-noise;severity=5")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The severities that were really made, in order."""
    found: list[int] = []
    perturb = GaussianNoise.perturb

    def counted(self: GaussianNoise, *given: object) -> object:
        found.append(self.severity)
        return perturb(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(GaussianNoise, "perturb", counted)
    return found


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., list[ScoreRow]]:
    (tmp_path / "own.py").write_text(LINEAR)

    def measure(results: str = "r", **changes: object) -> list[ScoreRow]:
        fields: dict[str, object] = {
            "variants": (f"{tmp_path / 'own.py'}:make",),
            "recipe": "none",
            "stressors": NOISE,
            "samples": 90,
            "device": "cpu",
        }
        return list(harness.run(RunRequest.model_validate({**fields, **changes}), str(tmp_path / results)).rows)

    return measure


def shelf() -> list[Path]:
    return sorted(cache_folder("perturbed").iterdir())


def test_two_subjects_are_given_the_same_samples_made_once(
    run: Callable[..., list[ScoreRow]], made: list[int], tmp_path: Path
) -> None:
    (tmp_path / "other.py").write_text(LINEAR.replace("SCALE = 1.0", "SCALE = 2.0"))
    rows = run(variants=(f"{tmp_path / 'own.py'}:make", f"{tmp_path / 'other.py'}:make"))
    assert made == [2, 5]
    digests = [row.perturbed for row in rows]
    assert digests[0] == digests[3] == ""  # the clean cells
    assert digests[1:3] == digests[4:6]
    assert digests[1] != digests[2]


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"samples": 80}, {"stressors": ("gaussian-noise;severity=2;mode=reference",)}]
)
def test_what_matters_is_part_of_the_address(
    run: Callable[..., list[ScoreRow]], made: list[int], change: dict[str, object]
) -> None:
    first, second = run()[1], run("r2", **change)[1]
    assert made[:2] == [2, 5]
    assert len(made) > 2
    assert first.perturbed != second.perturbed


def test_batches_do_not_matter(run: Callable[..., list[ScoreRow]], made: list[int], tmp_path: Path) -> None:
    whole, small = run(batch=256), run("r2", batch=7)
    assert made == [2, 5]
    shutil.rmtree(cache_folder("perturbed"))
    again = run("r3", batch=7)
    assert [row.perturbed for row in whole] == [row.perturbed for row in small] == [row.perturbed for row in again]
    stores = [RecordStore(str(tmp_path / name)).find([row.key for row in whole]) for name in ("r", "r2", "r3")]
    for row in whole:
        first, *others = (store[row.key] for store in stores)
        assert all(np.array_equal(first.states, other.states) for other in others)


@pytest.mark.parametrize("name", ["inputs.npy", "changed.npy", "units.npy", "card.json"])
def test_a_damaged_copy_is_made_again(run: Callable[..., list[ScoreRow]], made: list[int], name: str) -> None:
    before = run()
    for folder in shelf():
        content = bytearray((folder / name).read_bytes())
        content[-3] ^= 1
        (folder / name).write_bytes(bytes(content))
    after = run("r2")
    assert made == [2, 5, 2, 5]
    assert [row.perturbed for row in before] == [row.perturbed for row in after]


def test_what_was_used_longest_ago_makes_room(
    run: Callable[..., list[ScoreRow]], made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    size = sum(file.stat().st_size for file in shelf()[0].iterdir())
    monkeypatch.setenv("RBWB_SHELF_GB", str(2.5 * size / 1e9))
    run("r2", stressors=("gaussian-noise;severity=3",))
    assert len(shelf()) == 2
    run("r3", stressors=("gaussian-noise;severity=5",))  # the newer of the first two is still there
    assert made == [2, 5, 3]


def test_threads_make_the_same_samples(
    run: Callable[..., list[ScoreRow]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[tuple[bool, int, int]] = []
    perturb = GaussianNoise.perturb

    def noted(self: GaussianNoise, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        threads.append((threading.current_thread() is threading.main_thread(), torch.get_num_threads(), len(ids)))
        if self.severity == 5:
            raise ValueError("too severe")
        return perturb(self, images, ids, seed)

    kept = run(stressors=NOISE[:1])
    shutil.rmtree(cache_folder("perturbed"))
    monkeypatch.setattr(GaussianNoise, "perturb", noted)
    monkeypatch.setattr(perturbed_cache, "THREAD_VALUES", 20 * 8 * 8)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        rows = run("r2")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert rows[1].perturbed == kept[1].perturbed != ""
    assert threads[:5] == [(False, 1, 18)] * 5
    assert "too severe" in rows[2].error
    assert [path for path in cache_folder("perturbed").rglob("*") if path.name.startswith(".tmp-")] == []


@pytest.mark.parametrize("name", sorted(perturbed_cache.MADE_ON_CPU))
def test_what_computes_on_the_cpu_is_made_there_for_a_model_on_a_gpu(name: str) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), np.uint8)
    samples = TaskSamples(ids=np.arange(3, dtype=np.int32), inputs=levels, labels=np.zeros(3, np.int64))
    stressor = parse_stressor(f"{name};severity=3")
    assert isinstance(stressor, ModelFreeStressor)

    def digest(device: str) -> str:
        where = torch.device(device)
        cache = PerturbedCache(samples=samples, data="", seed=0, device=where, progress=SilentProgress())
        return cache.take(stressor)[1]

    assert digest("cuda") == digest("cpu") != ""  # without a GPU, CUDA would have raised an error


def test_what_does_not_fit_is_made_for_each_subject(
    run: Callable[..., list[ScoreRow]], made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = run()
    monkeypatch.setenv("RBWB_SHELF_GB", "0")
    rows = run("r2")
    assert made == [2, 5, 2, 5]
    assert [row.accuracy for row in rows] == [row.accuracy for row in kept]
    assert {row.perturbed for row in rows} == {""}


def test_more_than_fits_together_is_made_once_for_all_models_that_are_held(
    run: Callable[..., list[ScoreRow]], made: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.py").write_text(LINEAR.replace("SCALE = 1.0", "SCALE = 2.0"))
    two: dict[str, object] = {
        "variants": (f"{tmp_path / 'own.py'}:make", f"{tmp_path / 'other.py'}:make"),
        "stressors": (*NOISE, "fgsm-linf;eps=1/255", "gaussian-noise;severity=4"),
    }
    before = run("0", **two)
    monkeypatch.setenv("RBWB_SHELF_GB", str(1.5 * 90 * 8 * 8 / 1e9))  # bytes of the images of one cell and a half
    for name, held, expected in (("1", 1.0, [2, 5, 4]), ("2", 0.0, [2, 5, 4, 2, 5, 4])):
        shutil.rmtree(cache_folder("perturbed"))
        made.clear()
        monkeypatch.setattr(shared_rounds, "HELD", held)
        after = run(name, **two)
        assert made == expected
        assert len(shelf()) == 1
        shown = [[(row.slot, row.key, row.perturbed) for row in rows] for rows in (before, after)]
        assert shown[0] == shown[1]
        stores = [RecordStore(str(tmp_path / place)).find([row.key for row in before]) for place in ("0", name)]
        for row in before:
            one, other = (store[row.key] for store in stores)
            assert one.states.tobytes() + one.losses.tobytes() == other.states.tobytes() + other.losses.tobytes()


def test_rounds_are_for_what_fits_alone_but_not_together(
    run: Callable[..., list[ScoreRow]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    request = RunRequest(variants=("vit", "crate"), recipe="none", stressors=NOISE, samples=90, device="cpu")
    (context,) = task_contexts(PreparedRun(request, SilentProgress()))
    size, found = 90 * 8 * 8, {}
    for limit in (size - 1, size, 2 * size - 1, 2 * size):
        monkeypatch.setenv("RBWB_SHELF_GB", str(limit / 1e9))
        found[limit] = shared_rounds.in_rounds(context)
    assert list(found.values()) == [False, True, True, False]


@pytest.mark.parametrize("limit", ["a lot", "-1", "nan"])
def test_a_limit_that_is_no_number_is_one_line(
    run: Callable[..., list[ScoreRow]], monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setenv("RBWB_SHELF_GB", limit)
    with pytest.raises(UsageError, match="RBWB_SHELF_GB"):
        run()


@pytest.mark.slow(12)
def test_a_changed_constant_is_another_measurement(tmp_path: Path) -> None:
    """In a copy of the package: the digest of the source says so, ``diff`` refuses and names the field."""
    shutil.copytree(PACKAGE_ROOT, tmp_path / "robustbench_wb", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "own.py").write_text(LINEAR)

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "robustbench_wb", *words, "--results", "r"]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)

    stressors = ("--stressor", "contrast;severity=1", "--stressor", "saturate;severity=1")
    task = ("run", "--variant", "own.py:make", "--recipe", "none", "--samples", "20", *stressors)
    assert command(*task, "--progress", "none").returncode == ExitCode.OK
    constants = tmp_path / "robustbench_wb" / "stressors" / "corruptions" / "contrast.py"
    constants.write_text(constants.read_text().replace("32: (0.75,", "32: (0.74,"))
    again = command(*task, "--progress", "none")
    assert "1 new evaluation, 2 reused" in again.stderr
    compared = command("diff", "v1", "v2")
    assert compared.returncode == ExitCode.OK  # the other corruption is what it was
    assert "not comparable (stressor_code: " in compared.stdout
