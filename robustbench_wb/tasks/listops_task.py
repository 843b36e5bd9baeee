"""ListOps as a task: nested operations on lists of digits (Nangia & Bowman 2018, arXiv 1804.06028)."""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.models.shape import Pool, TextShape
from robustbench_wb.source import code_digest
from robustbench_wb.tasks.kept_splits import kept_splits
from robustbench_wb.tasks.listops.blocks import Parameters
from robustbench_wb.tasks.listops.expression import DIGITS, VOCABULARY
from robustbench_wb.tasks.listops.expressions import Expressions, token_matrix
from robustbench_wb.tasks.listops.generate import balanced_labels, generate, generate_labelled
from robustbench_wb.tasks.task import Dataset, Split

_DATA_SEED = 0


class ListOps:
    """``[CLS]`` and the symbols of an expression, brackets included; ten classes, its value.

    All splits are parts of one stream of different expressions: none is in two. As published the labels are as they
    come, and the class token answers; else every label is as frequent, and the mean over all symbols answers.
    """

    def __init__(self, name: str, parameters: Parameters, train: int, published: bool = False, room: int = 0) -> None:
        self.name, self.parameters, self.train, self.published = name, parameters, train, published
        self.room = max(room, parameters.max_length)

    def load(self, data_dir: str | None) -> Dataset:
        """Generate; a mirror is not needed and not looked at."""
        sizes = {"test": 2000, "validation": 2000, "train": self.train}
        key = {
            "code": code_digest(__name__),
            "parameters": self.parameters,
            "published": self.published,
            "sizes": sizes,
        }
        splits = kept_splits(key, self.name, "generate", lambda: self._make(sizes))
        pool: Pool = "cls" if self.published else "mean"
        return Dataset(
            self.name,
            tuple(str(digit) for digit in range(DIGITS)),
            splits["train"],
            splits["test"],
            TextShape(vocabulary=VOCABULARY, length=self.room, classes=DIGITS, pool=pool),
            validation=splits["validation"],
            shortcuts=("majority", "root-operator", "root-and-literals"),
        )

    def _make(self, sizes: dict[str, int]) -> dict[str, Split]:
        found = self._expressions(sum(sizes.values()))
        ends = np.cumsum([0, *sizes.values()])
        rows = {name: np.arange(*ends[at : at + 2]) for at, name in enumerate(sizes)}
        return {name: Split(self._tokens(found, some), found.labels[some]) for name, some in rows.items()}

    def _expressions(self, count: int) -> Expressions:
        if self.published:
            return generate(count, self.parameters, _DATA_SEED, self.name)
        labels = balanced_labels(count, _DATA_SEED, self.name)
        return generate_labelled(labels, self.parameters, _DATA_SEED, self.name)

    def _tokens(self, found: Expressions, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        return token_matrix(found, rows, self.parameters.max_length)


def _nested(shortest: int, longest: int) -> Parameters:
    """Short expressions of the published law are flat lists, and their digits tell nearly all. With few arguments, and
    operators as likely as digits, they are nested as the published long ones are."""
    return Parameters(min_length=shortest, max_length=longest, max_arguments=3, expand=Fraction(1, 2))


LISTOPS = ListOps("listops", Parameters(), 96_000)
LISTOPS_1K = ListOps("listops-1k", _nested(8, 1024), 50_000, room=2048)
LISTOPS_256 = ListOps("listops-256", _nested(8, 256), 20_000, room=1024)
LISTOPS_64 = ListOps("listops-64", _nested(4, 64), 100_000, room=256)
LRA_LISTOPS = ListOps("lra-listops", Parameters(), 96_000, published=True)
