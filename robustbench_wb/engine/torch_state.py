"""Global state of torch, numpy and Python that numbers depend on: set for a cell, checked, and put back."""

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import torch

from robustbench_wb import rng
from robustbench_wb.errors import SubjectError
from robustbench_wb.float_precision import exact_float32, read_precision, write_precision

_log = logging.getLogger(__name__)


@contextmanager
def own_state(seed: int, device: torch.device) -> Iterator[None]:
    """Set the state that a run has: gradients enabled, float32 without TF32 or autocast; put the caller's state back.

    Global generators start from ``seed``, so that the answers of a random model can be repeated.
    """
    dtype, plain = torch.get_default_dtype(), torch.autocast(device.type, enabled=False)
    try:
        seeded = seeded_generators(rng.stream_key(seed, "evaluate"), device)
        with seeded, torch.inference_mode(False), torch.enable_grad(), plain, arithmetic(device):
            torch.set_default_dtype(torch.float32)
            yield
    finally:
        torch.set_default_dtype(dtype)


class _Setting(NamedTuple):
    """A setting of torch that can change the last bits of a result, or the kernel that computes it."""

    name: str
    """Name in messages, without ``torch.``."""
    value: object
    """Value during a cell."""
    read: Callable[[], object]
    write: Callable[[Any], object]


def _attribute(path: str, value: bool) -> _Setting:
    """A setting that is an attribute of a part of torch."""
    owner, _, name = path.rpartition(".")
    return _Setting(
        name=path,
        value=value,
        read=lambda: attrgetter(path)(torch),
        write=lambda new: setattr(attrgetter(owner)(torch), name, new),
    )


def _kernel(name: str) -> _Setting:
    """Whether torch may choose a kernel for attention."""
    cuda = torch.backends.cuda
    return _Setting(
        name=f"backends.cuda.enable_{name}_sdp",
        value=True,
        read=getattr(cuda, f"{name}_sdp_enabled"),
        write=getattr(cuda, f"enable_{name}_sdp"),
    )


def _settings(deterministic: bool) -> tuple[_Setting, ...]:
    """Settings with their values during a cell: those of torch itself, but for what ``deterministic`` changes."""
    algorithms = _Setting(
        name="use_deterministic_algorithms",
        value=(deterministic, False),
        read=_determinism,
        write=_write_determinism,
    )
    return (
        algorithms,
        _attribute("backends.cudnn.enabled", True),
        _attribute("backends.cudnn.benchmark", False),  # a race would choose the kernel
        _attribute("backends.cudnn.deterministic", deterministic),
        _attribute("backends.cuda.matmul.allow_fp16_reduced_precision_reduction", True),
        _attribute("backends.cuda.matmul.allow_bf16_reduced_precision_reduction", True),
        *map(_kernel, ("flash", "mem_efficient", "math", "cudnn")),
    )


def _determinism() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _write_determinism(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


@contextmanager
def arithmetic(device: torch.device, *, deterministic: bool = False, refuses: bool = False) -> Iterator[None]:
    """Set how torch computes in this block, and put the settings back at its end: docs/gpu.md lists them.

    Args:
        device: where the block computes.
        deterministic: whether only deterministic algorithms may run.
        refuses: whether code in the block that changes a setting is refused. Away from CUDA, where these settings
            choose no kernel, the change is logged.

    Raises:
        SubjectError: a setting was changed on CUDA.
    """
    settings, precision = _settings(deterministic), read_precision(torch)
    before = [setting.read() for setting in settings]
    changed: list[str] = []
    try:
        for setting in settings:
            _put(setting, setting.value)
        exact_float32(torch)
        exact = read_precision(torch)
        yield
        changed = [f"torch.{setting.name}" for setting in settings if setting.read() != setting.value]
        changed += ["the precision of float32 products (TF32)"] if read_precision(torch) != exact else []
    finally:
        for setting, value in zip(settings, before, strict=True):
            _put(setting, value)
        write_precision(torch, precision)
    if changed and refuses:
        if device.type == "cuda":
            raise SubjectError(
                f"the model changed {', '.join(changed)} while it answered, so that numbers are not what the record "
                "says; set it nowhere, or only while the model is built"
            )
        _log.warning("a model changed %s while it answered; it was put back", ", ".join(changed))


def _put(setting: _Setting, value: object) -> None:
    if setting.read() != value:  # to set the algorithms imports the compiler of torch, which takes seconds
        setting.write(value)


@contextmanager
def seeded_generators(key: int, device: torch.device) -> Iterator[None]:
    """Start the global generators of torch (CPU and ``device``), numpy and Python from a key; put their states back.

    The harness draws no number from them: they serve models that do. Other devices are left alone: asking one for its
    state would start CUDA there, which takes hundreds of megabytes.
    """
    python, numpy = random.getstate(), np.random.get_state()
    try:
        cards = _cards(device)
        with torch.random.fork_rng(cards, device_type="cuda"):
            torch.default_generator.manual_seed(key)
            for card in cards:
                torch.cuda.default_generators[card].manual_seed(key)
            if device.type == "cuda" and not cards:
                torch.cuda.manual_seed(key)  # when CUDA starts
            elif device.type == "mps":
                torch.mps.manual_seed(key)
            random.seed(key)
            np.random.seed(key % (1 << 32))
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _cards(device: torch.device) -> list[int]:
    """Number of the CUDA device whose generator is put back; empty for another device, or if CUDA is not in use."""
    if device.type != "cuda" or not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return []
    return [torch.cuda.current_device() if str(device) == "cuda" else device.index]
