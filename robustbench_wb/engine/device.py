"""The device of a run, and the number format of its results."""

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


def numerics(device: torch.device) -> str:
    """Device class, number format and torch release (major.minor), on which rounding depends."""
    release = ".".join(torch.__version__.split(".")[:2])
    return f"{device.type};float32;torch-{release}"
