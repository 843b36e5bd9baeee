"""Token streams of language modelling, written to disk while the texts are read."""

import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robustbench_wb.tasks.array_cache import write_array
from robustbench_wb.tasks.task_tokenizer import encode_stream

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TEXTS = 4096
"""Texts encoded at once. Cannot change the stream."""


def write_token_stream(path: Path, texts: Iterable[str], *, tokenizer: "Tokenizer", length: int) -> int:
    """Encode texts as one stream, each ended by [SEP], and write its rows, int32 (N, length), as an ``.npy`` file.

    The incomplete row at the end is dropped. Memory does not grow with the texts: a list of the tokens of WikiText-103
    would take several GB.

    Returns:
        Number of rows N. If it is 0, no file is written.
    """
    with tempfile.TemporaryFile(dir=path.parent) as file:
        rest = iter(texts)
        while part := list(islice(rest, _TEXTS)):
            encode_stream(tokenizer, part, 1).tofile(file)  # rows of one token: none is incomplete
        count = file.tell() // (np.dtype(np.int32).itemsize * length)
        if count:
            file.flush()
            write_array(path, np.memmap(file, np.int32, "r", shape=(count, length)))
    return count
