"""The device of a run, the number format of its results, and the hardware that computes them."""

import os
import platform
import re
from pathlib import Path
from typing import Final

import torch

from robustbench_wb.errors import UsageError


def choose_device(name: str) -> torch.device:
    """Find a device by its torch name; ``auto`` is CUDA if available, else MPS, else the CPU.

    Raises:
        UsageError: the device is unknown or not available.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {name!r} cannot be used ({reason}); try 'auto' or 'cpu'", "device") from error
    return device


def numerics(device: torch.device, *, deterministic: bool = False) -> str:
    """Device class, number format and torch release (major.minor), on which rounding depends.

    ``;deterministic`` follows if only deterministic algorithms of torch may run.
    """
    release = ".".join(torch.__version__.split(".")[:2])
    return f"{device.type};float32;torch-{release}{';deterministic' if deterministic else ''}"


_WORKSPACE: Final = "CUBLAS_WORKSPACE_CONFIG"


def prepare_determinism() -> None:
    """Give cuBLAS the workspace that its deterministic algorithms need, unless the user has chosen one.

    cuBLAS reads the variable when it starts, so this must come before the first matrix product on a GPU.
    """
    os.environ.setdefault(_WORKSPACE, ":4096:8")


def hardware(device: torch.device) -> dict[str, object]:
    """Name of the processor or GPU, as JSON types; for a GPU also its compute capability, memory in bytes, number of
    cards, and versions of driver, CUDA and cuDNN. What is not known is missing."""
    found: dict[str, object] = {"cpu": _cpu_name()}
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        found |= {
            "gpu": card.name,
            "capability": f"{card.major}.{card.minor}",
            "memory": card.total_memory,
            "cards": torch.cuda.device_count(),
            "driver": _driver(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    return {name: value for name, value in found.items() if value}


def _cpu_name() -> str:
    """Name of the processor's model; elsewhere than on Linux what Python says, which may be less."""
    return _first_match("/proc/cpuinfo", r"model name\s*: (.+)") or platform.processor() or platform.machine()


def _driver() -> str:
    """Version of the NVIDIA driver on Linux; empty if it is not known."""
    return _first_match("/proc/driver/nvidia/version", r"Module.*?\s(\d+(?:\.\d+)+)\s")


def _first_match(file: str, pattern: str) -> str:
    """First group of the first match in a file of the system; empty if there is none."""
    try:
        text = Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(pattern, text)
    return "" if found is None else found[1].strip()
