"""As many different expressions as are wanted, with the labels that come or with given ones."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError, UsageError
from robustbench_wb.progress import Progress, Silent
from robustbench_wb.streams import Words
from robustbench_wb.tasks.listops.blocks import Parameters, make_block
from robustbench_wb.tasks.listops.expression import DIGITS
from robustbench_wb.tasks.listops.expressions import Expressions

PATIENCE = 1000
"""Blocks in a row without an expression that is wanted, after which there may be none."""


def generate(
    count: int, parameters: Parameters, seed: int, stream: str, progress: Progress | None = None
) -> Expressions:
    """The first ``count`` different expressions of a stream, with the labels that come.

    Raises:
        DataError: the parameters give no more different expressions.
    """
    rows = iter(range(count))
    return _collect([rows] * DIGITS, count, parameters, seed, stream, progress)


def generate_labelled(
    labels: NDArray[np.int64], parameters: Parameters, seed: int, stream: str, progress: Progress | None = None
) -> Expressions:
    """Different expressions, one for each of ``labels``: row i is the first of its label that no row above has.

    Among those of its label any expression is as likely as in :func:`generate`.

    Raises:
        UsageError: a label is not from 0 to 9.
        DataError: the parameters give no more different expressions of a label.
    """
    if not np.isin(labels, np.arange(DIGITS)).all():
        raise UsageError(f"ListOps: labels are from 0 to {DIGITS - 1}, not from {labels.min()} to {labels.max()}")
    rows = [iter(np.flatnonzero(labels == label).tolist()) for label in range(DIGITS)]
    return _collect(rows, len(labels), parameters, seed, stream, progress)


def balanced_labels(count: int, seed: int, stream: str) -> NDArray[np.int64]:
    """``count`` labels in random order, each of the ten as often as any other, or once more; int64 (count,)."""
    return Words(seed, f"{stream} labels").order(count) % DIGITS


def _collect(
    rows: list[Iterator[int]], count: int, parameters: Parameters, seed: int, stream: str, progress: Progress | None
) -> Expressions:
    """Give every new expression the next row that waits for its label, until all rows have one."""
    found: dict[int, tuple[bytes, int]] = {}
    seen: set[bytes] = set()
    number = tried = accepted = idle = 0
    with (progress or Silent()).stage("make ListOps", count, "expressions") as advance:
        while len(found) < count:
            block = make_block(parameters, seed, stream, number)
            number, tried, accepted = number + 1, tried + block.tried, accepted + block.accepted
            before = len(found)
            for text, label in _texts(block):
                row = None if text in seen else next(rows[label], None)
                if row is not None:
                    seen.add(text)
                    found[row] = text, label
            advance(len(found) - before)
            idle = 0 if len(found) > before else idle + 1
            if idle == PATIENCE:
                raise DataError(
                    f"ListOps: {PATIENCE * block.tried} random trees in a row gave no new expression that is wanted, "
                    f"{len(found)} of {count} were found; ask for fewer, or for other lengths, depth or arguments"
                )
    texts, labels = zip(*(found[row] for row in range(count)), strict=True) if found else ((), ())
    offsets = np.cumsum([0, *map(len, texts)])
    return Expressions(np.frombuffer(b"".join(texts), np.int8), offsets, np.array(labels, np.int64), tried, accepted)


def _texts(block: Expressions) -> Iterator[tuple[bytes, int]]:
    """The symbols of each expression, which can be looked up, and its label."""
    whole, ends = block.symbols.tobytes(), block.offsets.tolist()
    for (start, end), label in zip(pairwise(ends), block.labels.tolist(), strict=True):
        yield whole[start:end], label
