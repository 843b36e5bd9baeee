"""A cache that machines share in an object store: each takes a folder of its own for a machine."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from robustbench_wb.api.run import RunResult, run
from robustbench_wb.api.train import train
from robustbench_wb.errors import ExitCode, StoreError, UsageError
from robustbench_wb.models.weights import weights_digest, weights_of
from robustbench_wb.object_store import open_files, read_bytes, write_bytes
from robustbench_wb.progress import Advance, SilentProgress
from robustbench_wb.training.checkpoint import CheckpointCard, load_checkpoint, save_checkpoint
from robustbench_wb.training.shared_checkpoints import fetch_checkpoint, share_checkpoint
from tests.store.wire import Wire

Machine = Callable[[str], None]


class Stages(SilentProgress):
    """Progress that notes the stages of work."""

    def __init__(self) -> None:
        self.labels: list[str] = []

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        self.labels.append(label)
        yield lambda count: None


@pytest.fixture
def shared(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of an empty shared cache."""
    place = f"{bucket}/{tmp_path.name}"
    monkeypatch.setenv("RBWB_SHARED_CACHE", place)
    return place


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Go on as another machine, with a cache folder of its own."""
    return lambda name: monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / name))


def measured(tmp_path: Path, name: str) -> tuple[RunResult, list[str]]:
    """A run with a short training and a corruption, and its stages."""
    stages = Stages()
    result = run(
        results=str(tmp_path / f"results-{name}"),
        progress=stages,
        variants=("vit",),
        recipe="standard;epochs=1",
        stressors=("gaussian-noise;severity=3",),
        samples=30,
        device="cpu",
    )
    return result, stages.labels


@pytest.mark.slow(20)
def test_what_one_machine_has_made_the_others_find(shared: str, machine: Machine, tmp_path: Path) -> None:
    machine("first")
    first, made = measured(tmp_path, "first")
    machine("second")
    second, found = measured(tmp_path, "second")
    assert first.exit_code == second.exit_code == ExitCode.OK
    assert [row.key for row in first.rows] == [row.key for row in second.rows]
    assert (first.trained, second.trained) == (1, 0)
    assert {label.split()[0] for label in made} >= {"train", "make"}
    assert not {label.split()[0] for label in found} & {"train", "make"}


@pytest.mark.slow(20)
@pytest.mark.parametrize("kind", [".json", ".safetensors", ".npy"])
def test_damaged_files_are_made_again(
    kind: str, shared: str, machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine("first")
    first, _ = measured(tmp_path, "first")
    files = open_files(shared)
    for info in files.get_file_info_selector("", False, True):
        if info.path.endswith(kind) and (content := read_bytes(files, info.path)) is not None:
            write_bytes(files, info.path, content[: len(content) // 2])
    machine("second")
    with caplog.at_level(logging.WARNING):
        second, made = measured(tmp_path, "second")
    remade = {".json": {"train", "make"}, ".safetensors": {"train"}, ".npy": {"make"}}[kind]
    assert {label.split()[0] for label in made} & {"train", "make"} == remade
    assert [row.key for row in first.rows] == [row.key for row in second.rows]
    assert "is damaged" in caplog.text
    machine("third")
    _, found = measured(tmp_path, "third")
    assert not {label.split()[0] for label in found} & {"train", "make"}


def checkpoint(folder: Path, seed: int) -> Path:
    """The checkpoint of one training, whose weights depend on the machine."""
    torch.manual_seed(seed)
    model, path = nn.Linear(2, 2), folder / "training.safetensors"
    folder.mkdir()
    card = CheckpointCard(weights=weights_digest(weights_of(model)), seconds=1.0, steps=1, final_loss=1.0, identity={})
    save_checkpoint(path, model, card)
    return path


@pytest.mark.slow(20)
def test_of_two_trainings_the_first_one_is_kept(shared: str, tmp_path: Path) -> None:
    first, second = checkpoint(tmp_path / "first", 1), checkpoint(tmp_path / "second", 2)
    wanted = load_checkpoint(first)
    share_checkpoint(first)
    share_checkpoint(second)
    third = tmp_path / "third" / "training.safetensors"
    fetch_checkpoint(third)
    assert wanted is not None
    for path in (first, second, third):
        found = load_checkpoint(path)
        assert found is not None
        assert found[1] == wanted[1]


@pytest.mark.slow(20)
def test_an_address_that_is_wrong_shows_before_any_work(
    shared: str, wire: Wire, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("first")
    wire.cut()
    with pytest.raises(StoreError, match=r"^RBWB_SHARED_CACHE cannot be written to 's3://.*refused"):
        measured(tmp_path, "first")
    with pytest.raises(StoreError, match=r"^RBWB_SHARED_CACHE cannot be written to 's3://.*refused"):
        train(variants=("vit",))
    monkeypatch.setenv("RBWB_SHARED_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match=r"^RBWB_SHARED_CACHE is a URL like s3://bucket/cache, not"):
        measured(tmp_path, "first")
    assert not list((tmp_path / "first").rglob("*.safetensors"))
    assert "RBWB_CACHE_DIR" in os.environ
