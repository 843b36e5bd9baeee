"""Global state of torch, numpy and Python that a function called from somebody's program must leave as it was."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from robustbench_wb import rng
from robustbench_wb.engine.device import exact_float32


@contextmanager
def own_state(seed: int, device: torch.device) -> Iterator[None]:
    """Set the state that a run has: gradients enabled, float32 without TF32 or autocast; put the caller's state back.

    Global generators start from ``seed``, so that the answers of a random model can be repeated.
    """
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    dtype, python, numpy = torch.get_default_dtype(), random.getstate(), np.random.get_state()
    devices = [device.index or 0] if device.type == "cuda" else []
    try:
        plain = torch.autocast(device.type, enabled=False)
        with torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad(), plain:
            torch.set_default_dtype(torch.float32)
            exact_float32()
            key = rng.stream_key(seed, "evaluate")
            torch.manual_seed(key)
            random.seed(key)
            np.random.seed(key % (1 << 32))
            yield
    finally:
        torch.set_default_dtype(dtype)
        random.setstate(python)
        np.random.set_state(numpy)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
