"""Settings of torch during a cell, generators of the device in use, and the hardware: on a CPU, with CUDA pretended."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from robustbench_wb.engine import device as devices
from robustbench_wb.engine.device import hardware, numerics
from robustbench_wb.engine.torch_state import arithmetic, seeded_generators
from robustbench_wb.errors import SubjectError

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 1)


def _flip_benchmark(value: bool) -> None:
    torch.backends.cudnn.benchmark = value


def _flip_reduction(value: bool) -> None:
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = not value


def _flip_tf32(value: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = value


CHANGES: dict[str, Callable[[bool], None]] = {
    "torch.backends.cudnn.benchmark": _flip_benchmark,
    "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction": _flip_reduction,
    "torch.backends.cuda.enable_math_sdp": lambda value: torch.backends.cuda.enable_math_sdp(not value),
    "TF32": _flip_tf32,
}


def _state() -> tuple[bool, ...]:
    return (
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
        torch.backends.cuda.math_sdp_enabled(),
        torch.backends.cuda.matmul.allow_tf32,
    )


@pytest.mark.parametrize("name", CHANGES)
def test_a_model_that_changes_a_setting_is_refused_on_cuda_and_put_back_elsewhere(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    change, before = CHANGES[name], _state()
    with pytest.raises(SubjectError, match=f"the model changed .*{name}.* while it answered"), _refusing(CUDA):
        change(True)
    assert _state() == before
    with caplog.at_level(logging.WARNING), _refusing(CPU):
        change(True)
    assert name in caplog.text
    change(True)  # by the caller: a cell has the documented values all the same
    try:
        callers = _state()
        with _refusing(CUDA):
            assert _state() == (False, False, True, True, False)
        assert _state() == callers
    finally:
        change(False)
    assert _state() == before


@contextmanager
def _refusing(device: torch.device) -> Iterator[None]:
    with arithmetic(device, refuses=True):
        yield


def test_an_error_of_the_model_is_not_hidden_by_its_changes() -> None:
    def fail() -> None:
        with _refusing(CUDA):
            _flip_benchmark(True)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()
    assert not torch.backends.cudnn.benchmark


def test_determinism_is_a_setting_and_part_of_the_numerics(monkeypatch: pytest.MonkeyPatch) -> None:
    release = ".".join(torch.__version__.split(".")[:2])
    assert numerics(CPU) == f"cpu;float32;torch-{release}"
    assert numerics(CUDA, deterministic=True) == f"cuda;float32;torch-{release};deterministic"
    asked: list[tuple[bool, bool]] = []
    # The function itself imports the compiler of torch, which takes seconds.
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode, warn_only: asked.append((mode, warn_only)))
    with arithmetic(CPU, deterministic=True):
        assert torch.backends.cudnn.deterministic
    assert (asked, torch.backends.cudnn.deterministic) == ([(True, False)], False)


@pytest.mark.parametrize("started", [True, False])
def test_only_the_generator_of_the_device_in_use_is_seeded_and_put_back(
    started: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = [torch.Generator().manual_seed(number) for number in range(3)]
    before = [card.get_state() for card in cards]
    late: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: started)
    monkeypatch.setattr(torch.cuda, "default_generators", cards)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda card: cards[card].get_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, card: cards[card].set_state(state))
    monkeypatch.setattr(torch.cuda, "manual_seed", late.append)
    with seeded_generators(5, CUDA):
        assert [card.initial_seed() for card in cards] == [0, 5 if started else 1, 2]
        assert torch.initial_seed() == 5
    assert late == ([] if started else [5])  # CUDA seeds itself when it starts
    assert all(torch.equal(card.get_state(), state) for card, state in zip(cards, before, strict=True))


def test_hardware_names_the_processor_and_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(hardware(CPU)) == ["cpu"]
    card = SimpleNamespace(name="NVIDIA H200", major=9, minor=0, total_memory=150_000_000_000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    lines = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
    monkeypatch.setattr(devices, "Path", lambda file: SimpleNamespace(read_text=lambda **given: lines))
    found = hardware(CUDA)
    assert (found["gpu"], found["capability"], found["cards"]) == ("NVIDIA H200", "9.0", 8)
    assert found["driver"] == "550.54.15"
    open_module = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.03  Release Build\n"
    monkeypatch.setattr(devices, "Path", lambda file: SimpleNamespace(read_text=lambda **given: open_module))
    assert hardware(CUDA)["driver"] == "560.35.03"
