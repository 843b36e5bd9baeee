"""ListOps tasks: evaluate nested operations on lists of digits (Nangia & Bowman 2018, arXiv 1804.06028)."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.models.shape import Pool, TextShape
from robustbench_wb.source import code_digest
from robustbench_wb.tasks.listops.blocks import ExpressionParameters
from robustbench_wb.tasks.listops.expression import DIGITS, VOCABULARY
from robustbench_wb.tasks.listops.expression_array import Expressions, token_matrix
from robustbench_wb.tasks.listops.generate import balanced_labels, generate_expressions, generate_labelled_expressions
from robustbench_wb.tasks.split_cache import load_or_make_splits
from robustbench_wb.tasks.task import Dataset, Split

_DATA_SEED = 0


class ListOpsTask:
    """Task whose inputs are ``[CLS]`` and the symbols of an expression, and whose label is its value, 0 to 9.

    All splits are parts of one stream of distinct expressions, so that no expression is in two splits. With
    ``published``, labels have their natural distribution and the class token is pooled; otherwise labels are balanced
    and the mean over all symbols is pooled.

    Args:
        name: name of the task, and of the random stream.
        parameters: distribution of the expressions.
        train: training samples; the validation and test splits have 2,000 each.
        published: whether to keep the published labels and pooling.
        room: longest input in tokens that a model must accept, at least ``parameters.max_length``.
    """

    def __init__(
        self, name: str, parameters: ExpressionParameters, train: int, published: bool = False, room: int = 0
    ) -> None:
        self.name, self.parameters, self.train, self.published = name, parameters, train, published
        self.room = max(room, parameters.max_length)

    def load(self, data_dir: str | None) -> Dataset:
        """Generate all splits, or read them from the cache; ``data_dir`` is ignored."""
        sizes = {"test": 2000, "validation": 2000, "train": self.train}
        key = {
            "code": code_digest(__name__),
            "parameters": self.parameters,
            "published": self.published,
            "sizes": sizes,
        }
        splits = load_or_make_splits(key, name=self.name, verb="generate", make=lambda: self._make(sizes))
        pool: Pool = "cls" if self.published else "mean"
        return Dataset(
            label=self.name,
            classes=tuple(str(digit) for digit in range(DIGITS)),
            train=splits["train"],
            test=splits["test"],
            shape=TextShape(vocabulary=VOCABULARY, length=self.room, classes=DIGITS, pool=pool),
            validation=splits["validation"],
            shortcuts=("majority", "root-operator", "root-and-literals"),
        )

    def _make(self, sizes: dict[str, int]) -> dict[str, Split]:
        found = self._expressions(sum(sizes.values()))
        ends = np.cumsum([0, *sizes.values()])
        rows = {name: np.arange(start, end) for name, (start, end) in zip(sizes, pairwise(ends), strict=True)}
        return {name: Split(inputs=self._tokens(found, some), labels=found.labels[some]) for name, some in rows.items()}

    def _expressions(self, count: int) -> Expressions:
        if self.published:
            return generate_expressions(count, self.parameters, seed=_DATA_SEED, stream=self.name)
        labels = balanced_labels(count, _DATA_SEED, self.name)
        return generate_labelled_expressions(labels, self.parameters, seed=_DATA_SEED, stream=self.name)

    def _tokens(self, found: Expressions, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        return token_matrix(found, rows, self.parameters.max_length)


def _nested(shortest: int, longest: int) -> ExpressionParameters:
    """Parameters of short expressions that are nested like the published long ones.

    Short expressions of the published distribution are flat lists whose digits nearly determine the label. At most
    three arguments, and operators as likely as digits, give more levels.
    """
    return ExpressionParameters(min_length=shortest, max_length=longest, max_arguments=3, expand=Fraction(1, 2))


LISTOPS = ListOpsTask("listops", ExpressionParameters(), train=96_000)
LISTOPS_1K = ListOpsTask("listops-1k", _nested(8, 1024), train=50_000, room=2048)
LISTOPS_256 = ListOpsTask("listops-256", _nested(8, 256), train=20_000, room=1024)
LISTOPS_64 = ListOpsTask("listops-64", _nested(4, 64), train=100_000, room=256)
LRA_LISTOPS = ListOpsTask("lra-listops", ExpressionParameters(), train=96_000, published=True)
