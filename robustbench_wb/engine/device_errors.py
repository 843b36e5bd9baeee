"""Errors of devices: memory that ran out, and a GPU that this process cannot use any more.

After some errors of CUDA (illegal access to memory, failed assertion in a kernel, uncorrectable memory error, failed
launch) every later call in the same process fails with the same error. Only a new process can use the GPU again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from robustbench_wb.errors import MeasurementError, first_line

_NO_MEMORY: Final = (
    "out of memory",  # CUDA, HIP and MPS; also without torch.OutOfMemoryError: "CUDA error: out of memory"
    "can't allocate memory",  # CPU
    "not enough memory",  # CPU on Windows
    "Invalid buffer size",  # MPS
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",  # no memory for the handle
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUSPARSE_STATUS_ALLOC_FAILED",
    "CUFFT_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
)
"""What errors of torch say when memory ran out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


def free_cached_memory(device: torch.device) -> None:
    """Give memory that torch keeps for later back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


class LostDevices:
    """Devices that this process has lost, with the reason. The values belong to an object, see ``interrupts``."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}


LOST: Final = LostDevices()


def is_lost(device: torch.device) -> bool:
    """Whether an evaluation has made a device useless for this process."""
    return str(device) in LOST.reasons


def refuse_lost_device(device: torch.device) -> None:
    """Refuse an evaluation on a device that this process cannot use any more.

    Raises:
        MeasurementError: an earlier evaluation has made it useless; the message names that evaluation.
    """
    if is_lost(device):
        raise MeasurementError(LOST.reasons[str(device)])


@contextmanager
def watching_device(device: torch.device, what: str) -> Iterator[None]:
    """Notice in this block that a device is lost: the first error passes, later ones refer to it.

    Args:
        device: where the block computes.
        what: name of the evaluation.

    Raises:
        MeasurementError: what the block raises.
    """
    try:
        yield
    except MeasurementError as error:
        refuse_lost_device(device)
        reason = _failure(device)
        if reason:
            LOST.reasons[str(device)] = (
                f"not evaluated: this process cannot use {device} any more after an error in {what} ({reason}); the "
                "same command evaluates what is missing"
            )
            raise MeasurementError(f"{error}; the process cannot use {device} any more") from error
        raise


def _failure(device: torch.device) -> str:
    """What CUDA says of a device that fails at every call; empty if the device works."""
    if device.type == "cuda":
        try:
            torch.cuda.synchronize(device)
        except RuntimeError as error:
            return first_line(error)
    return ""
