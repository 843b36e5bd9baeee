"""Pathfinder as a task: are the two marked ends those of one dashed curve? (Linsley et al. 2018, arXiv 1805.08315)"""

from robustbench_wb.source import code_digest
from robustbench_wb.tasks.kept_splits import kept_splits
from robustbench_wb.tasks.levels import level_tokens, published_tokens, sequence_shape
from robustbench_wb.tasks.pathfinder.generate import generate
from robustbench_wb.tasks.pathfinder.parameters import EASY, HARD, PATH_X, Parameters
from robustbench_wb.tasks.task import Dataset, Split

_DATA_SEED = 0


class Pathfinder:
    """The pixels of an image, row after row; both labels are as frequent. As published, black passes for padding."""

    def __init__(self, name: str, parameters: Parameters, train: int, test: int, published: bool = False) -> None:
        self.name, self.parameters, self.published = name, parameters, published
        self.sizes = {"train": train, "validation": test, "test": test}

    def load(self, data_dir: str | None) -> Dataset:
        """Generate; a mirror is not needed and not looked at."""
        # Both flavours are made of the same images.
        key = {"code": code_digest("robustbench_wb.tasks.pathfinder.generate"), "parameters": self.parameters}
        images = kept_splits({**key, "sizes": self.sizes}, self.name, "generate", self._make)
        tokens = published_tokens if self.published else level_tokens
        splits = {name: Split(tokens(part.inputs), part.labels) for name, part in images.items()}
        return Dataset(
            self.name,
            ("apart", "joined"),
            splits["train"],
            splits["test"],
            sequence_shape(self.parameters.window**2, 2, self.published),
            validation=splits["validation"],
            shortcuts=("majority", "pixels"),
        )

    def _make(self) -> dict[str, Split]:
        found = {name: generate(size, self.parameters, _DATA_SEED, name) for name, size in self.sizes.items()}
        return {name: Split(part.images[:, None], part.labels) for name, part in found.items()}


PATHFINDER = Pathfinder("pathfinder", HARD, 160_000, 20_000)
PATHFINDER_EASY = Pathfinder("pathfinder-easy", EASY, 20_000, 2_000)
PATHX = Pathfinder("path-x", PATH_X, 160_000, 20_000)
LRA_PATHFINDER = Pathfinder("lra-pathfinder", HARD, 160_000, 20_000, published=True)
LRA_PATHX = Pathfinder("lra-path-x", PATH_X, 160_000, 20_000, published=True)
