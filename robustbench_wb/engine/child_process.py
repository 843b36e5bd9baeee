"""Processes that the harness starts."""

import multiprocessing
import os
import threading
from typing import Final

import torch

from robustbench_wb.interrupts import ignore_interrupts


def become_child(threads: int) -> None:
    """Set this process up: Ctrl-C is left to the parent, and without a parent the process ends.

    Args:
        threads: CPU threads of torch.
    """
    ignore_interrupts()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _EXIT(1)


_EXIT: Final = os._exit
"""The function itself: a guard replaces it while code of users runs."""
