"""Global state of torch, numpy and Python that a function called from somebody's program must leave as it was."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from robustbench_wb import rng
from robustbench_wb.float_precision import exact_float32, read_precision, write_precision


@contextmanager
def own_state(seed: int, device: torch.device) -> Iterator[None]:
    """Set the state that a run has: gradients enabled, float32 without TF32 or autocast; put the caller's state back.

    Global generators start from ``seed``, so that the answers of a random model can be repeated.
    """
    precision = read_precision(torch)
    dtype, plain = torch.get_default_dtype(), torch.autocast(device.type, enabled=False)
    try:
        seeded = seeded_generators(rng.stream_key(seed, "evaluate"))
        with seeded, torch.inference_mode(False), torch.enable_grad(), plain:
            torch.set_default_dtype(torch.float32)
            exact_float32(torch)
            yield
    finally:
        torch.set_default_dtype(dtype)
        write_precision(torch, precision)


@contextmanager
def seeded_generators(key: int) -> Iterator[None]:
    """Start the global generators of torch, numpy and Python from a key, and put their states back at the end.

    The harness draws no number from them: they serve models that do.
    """
    python, numpy = random.getstate(), np.random.get_state()
    try:
        started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        with torch.random.fork_rng(range(torch.cuda.device_count()) if started else []):
            torch.manual_seed(key)
            random.seed(key)
            np.random.seed(key % (1 << 32))
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
