"""Choosing the device, and saying what numbers are computed with."""

import torch

from robustbench_wb.errors import UsageError


def choose_device(name: str) -> torch.device:
    """``auto`` takes CUDA, else MPS, else the CPU; any torch device name is taken as it is.

    Raises:
        UsageError: the device is unknown or not there.
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
        raise UsageError(f"device {name!r} cannot be used ({reason}); try --device auto or --device cpu") from error
    return device


def numerics(device: torch.device) -> str:
    """Device class, number format of verdicts, and torch release (major.minor): what rounding depends on."""
    release = ".".join(torch.__version__.split(".")[:2])
    return f"{device.type};float32;torch-{release}"


def exact_float32() -> None:
    """Forbid TF32, which would silently turn float32 products into 10-bit ones on NVIDIA devices."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
