"""Memory that runs out in all its forms, and a GPU that a process cannot use any more; CUDA is pretended on a CPU."""

from pathlib import Path

import pytest
import torch
from torch import nn

from robustbench_wb.api import run as harness
from robustbench_wb.engine import batch as batches
from robustbench_wb.engine import device_errors
from robustbench_wb.engine.batch import BatchSize, BatchSizes, safe_batch
from robustbench_wb.engine.device_errors import free_cached_memory, is_lost, is_out_of_memory, watching_device
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.record_keeper import NoRecords
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.run import measure_all
from robustbench_wb.errors import MeasurementError
from robustbench_wb.progress import SilentProgress
from robustbench_wb.stressors.model_access import ModelAccess
from tests.engine.linear_model import LINEAR

ILLEGAL = "CUDA error: an illegal memory access was encountered"
FORMS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("MPS backend out of memory (MPS allocated: 18.00 GB)"),
    RuntimeError("Invalid buffer size: 24.00 GB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
)


@pytest.fixture
def losses() -> dict[str, str]:
    """Devices that this process has lost, none before and after the test."""
    return device_errors.LOST.reasons


@pytest.fixture(autouse=True)
def _nothing_is_lost(losses: dict[str, str]) -> object:
    yield
    losses.clear()


@pytest.mark.parametrize("error", FORMS, ids=str)
def test_every_form_of_lacking_memory_halves_the_batch(error: Exception) -> None:
    tried: list[int] = []

    def work(access: ModelAccess) -> str:
        tried.append(access.batch_size)
        if access.batch_size > 4:
            raise error
        return "done"

    size = BatchSize(16)
    assert size.fit(ModelAccess(model=nn.Identity(), batch_size=16), work) == "done"
    assert (tried, size.size) == ([16, 8, 4], 4)


def test_other_errors_are_not_taken_for_lacking_memory() -> None:
    assert not is_out_of_memory(RuntimeError(ILLEGAL))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_cached_memory_goes_back_to_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append("cuda"))
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: freed.append("mps"))
    for name in ("cpu", "cuda:1", "mps"):
        free_cached_memory(torch.device(name))
    assert freed == ["cuda", "mps"]


def test_processes_on_one_device_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = nn.Sequential(nn.Flatten(), nn.Linear(12, 50), nn.Tanh(), nn.Linear(50, 2)), torch.rand(8, 3, 2, 2)
    per_sample = 2 * 4 * 62
    monkeypatch.setattr(batches, "free_bytes", lambda: 2 * 130 * per_sample)
    alone, _ = safe_batch(model, inputs)
    shared, _ = safe_batch(model, inputs, 4)
    assert (alone, shared) == (128, 32)
    for sharers, expected in ((1, 128), (4, 32)):
        sizes = BatchSizes(None, torch.device("cpu"), sharers=sharers)
        assert sizes.of(model, inputs.numpy()).size == expected


def test_a_lost_gpu_is_named_once_and_then_referred_to(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda", 1)

    def synchronize(asked: torch.device) -> None:
        assert asked == device
        raise RuntimeError(f"{ILLEGAL}\nCompile with `TORCH_USE_CUDA_DSA`")

    def fail(text: str, where: str) -> str:
        with pytest.raises(MeasurementError) as raised, watching_device(device, where):
            raise MeasurementError(text)
        return str(raised.value)

    monkeypatch.setattr(torch.cuda, "synchronize", lambda asked: None)
    assert fail("no gradient", "vit, pgd-linf") == "no gradient"
    assert not is_lost(device)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    assert fail("pgd-linf: " + ILLEGAL, "vit, pgd") == f"pgd-linf: {ILLEGAL}; the process cannot use cuda:1 any more"
    later = fail("cublas says something else", "crate, pgd")
    assert later == (
        f"not evaluated: this process cannot use cuda:1 any more after an error in vit, pgd ({ILLEGAL}); the same "
        "command evaluates what is missing"
    )
    assert not is_lost(torch.device("cpu"))


LOSING = f"""{LINEAR}
import pathlib
from robustbench_wb.engine import device_errors

class Losing(Linear):
    def forward(self, images):
        marker = pathlib.Path(__file__).with_name("marker")
        if len(images) > 16 and float(images.min()) > 0.1 and not marker.exists():
            marker.touch()
            device_errors.LOST.reasons["cpu"] = "not evaluated: the device is lost"
            raise RuntimeError("{ILLEGAL}")
        return super().forward(images)

def losing(shape):
    return Losing(shape)
"""


def _request(tmp_path: Path, **changes: object) -> RunRequest:
    model = tmp_path / "model.py"
    model.write_text(LOSING)
    fields: dict[str, object] = {
        "variants": (f"{model}:losing", f"{model}:make"),
        "stressors": ("brightness;severity=5", "pgd-linf;eps=4/255;steps=2", "fgsm-linf;eps=8/255"),
        "recipe": "none",
        "samples": 60,
        "device": "cpu",
    }
    return RunRequest.model_validate({**fields, **changes})


def test_a_lost_gpu_makes_the_other_cells_of_the_process_errors(
    tmp_path: Path, losses: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    cells = measure_all(PreparedRun(_request(tmp_path), SilentProgress()), NoRecords())
    errors = [cell.error for cell in cells]
    assert losses
    # The first model has its clean cell; its device is lost under brightness.
    reason = "not evaluated: the device is lost"
    assert errors == ["", *[reason] * 4, *[f"the clean cell failed: {reason}"] * 3]


@pytest.mark.slow(40)
@pytest.mark.parametrize("way", [{"workers": 2}, {"isolate": True}], ids=["workers", "isolate"])
def test_a_lost_device_ends_its_process_and_not_the_run(way: dict[str, object], tmp_path: Path) -> None:
    asked = _request(tmp_path, **way)
    asked = asked.model_copy(update={"variants": asked.variants[:1]}) if asked.variants else asked
    report = harness.run(asked, str(tmp_path / "results"))
    assert (tmp_path / "marker").exists()
    failed = [row for row in report.rows if row.status != "ok"]
    assert len(report.rows) == 4
    assert [(row.stressor, row.error) for row in failed] == [("brightness", "not evaluated: the device is lost")]
    again = harness.run(asked, str(tmp_path / "results"))
    assert {row.status for row in again.rows} == {"ok"}
    assert again.measured == 1
