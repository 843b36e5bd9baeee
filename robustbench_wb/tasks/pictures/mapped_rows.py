"""Rows of arrays that are mapped from files larger than memory."""

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def copy_rows(array: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Copy some rows of an array, which may be mapped from a file.

    The pages of the file leave the process again. Otherwise they count as its memory until the system is short of it,
    and a limit on memory, as clusters set it, could end the process.
    """
    taken = np.asarray(array[rows])
    pages = array.base
    if isinstance(pages, mmap.mmap) and hasattr(pages, "madvise"):
        pages.madvise(mmap.MADV_DONTNEED)
    return taken
