"""Generation of distinct expressions, with natural or with given labels."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError, UsageError
from robustbench_wb.progress import Progress, SilentProgress
from robustbench_wb.streams import RandomStream
from robustbench_wb.tasks.listops.blocks import ExpressionParameters, make_block
from robustbench_wb.tasks.listops.expression import DIGITS
from robustbench_wb.tasks.listops.expression_array import Expressions

PATIENCE = 1000
"""Number of consecutive blocks without a wanted expression after which the search stops."""


def generate_expressions(
    count: int, parameters: ExpressionParameters, seed: int, stream: str, progress: Progress | None = None
) -> Expressions:
    """Return the first ``count`` distinct expressions of a stream, with their natural labels.

    Raises:
        DataError: the parameters allow fewer distinct expressions.
    """
    rows = iter(range(count))
    return _collect([rows] * DIGITS, count, parameters=parameters, seed=seed, stream=stream, progress=progress)


def generate_labelled_expressions(
    labels: NDArray[np.int64],
    parameters: ExpressionParameters,
    seed: int,
    stream: str,
    progress: Progress | None = None,
) -> Expressions:
    """Return one distinct expression for each of ``labels``: for row i, the first unused one with that label.

    The distribution of expressions given their label is the same as in ``generate``.

    Raises:
        UsageError: a label is not from 0 to 9.
        DataError: the parameters allow fewer distinct expressions of a label.
    """
    if not np.isin(labels, np.arange(DIGITS)).all():
        raise UsageError(f"ListOps: labels must be from 0 to {DIGITS - 1}, not from {labels.min()} to {labels.max()}")
    rows = [iter(np.flatnonzero(labels == label).tolist()) for label in range(DIGITS)]
    return _collect(rows, len(labels), parameters=parameters, seed=seed, stream=stream, progress=progress)


def balanced_labels(count: int, seed: int, stream: str) -> NDArray[np.int64]:
    """Draw ``count`` labels in random order, int64 (count,), whose frequencies differ by at most one."""
    return RandomStream(seed, f"{stream} labels").permutation(count) % DIGITS


def _collect(
    rows: list[Iterator[int]],
    count: int,
    parameters: ExpressionParameters,
    seed: int,
    stream: str,
    progress: Progress | None,
) -> Expressions:
    """Assign every new expression to the next row of its label in ``rows``, until all ``count`` rows have one."""
    found: dict[int, tuple[bytes, int]] = {}
    seen: set[bytes] = set()
    number = tried = accepted = idle = 0
    with (progress or SilentProgress()).stage("make ListOps", count, "expressions") as advance:
        while len(found) < count:
            block = make_block(parameters, seed=seed, stream=stream, number=number)
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
                    f"ListOps: {PATIENCE * block.tried} random trees in a row gave no new wanted expression, "
                    f"{len(found)} of {count} were found; ask for fewer, or for other lengths, depth or arguments"
                )
    texts, labels = zip(*(found[row] for row in range(count)), strict=True) if found else ((), ())
    offsets = np.cumsum([0, *map(len, texts)])
    return Expressions(
        symbols=np.frombuffer(b"".join(texts), np.int8),
        offsets=offsets,
        labels=np.array(labels, np.int64),
        tried=tried,
        accepted=accepted,
    )


def _texts(block: Expressions) -> Iterator[tuple[bytes, int]]:
    """Iterate over the expressions of a block: symbols as bytes, which are hashable, and label."""
    whole, ends = block.symbols.tobytes(), block.offsets.tolist()
    for (start, end), label in zip(pairwise(ends), block.labels.tolist(), strict=True):
        yield whole[start:end], label
