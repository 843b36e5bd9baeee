"""Pathfinder tasks: do two marked ends belong to one dashed curve? (Linsley et al. 2018, arXiv 1805.08315)"""

from robustbench_wb.source import code_digest
from robustbench_wb.tasks.pathfinder.generate import generate_images
from robustbench_wb.tasks.pathfinder.parameters import EASY, HARD, PATH_X, PathfinderParameters
from robustbench_wb.tasks.pixel_tokens import level_tokens, published_tokens, sequence_shape
from robustbench_wb.tasks.split_cache import load_or_make_splits
from robustbench_wb.tasks.task import Dataset, Split

_DATA_SEED = 0


class PathfinderTask:
    """Task on the pixels of an image in raster order, with balanced labels.

    With ``published``, black pixels have the id of padding, as in the original task. Both versions share the images.

    Args:
        name: name of the task.
        parameters: geometry of the images.
        train: training samples.
        test: test samples; the validation split has as many.
        published: whether to keep the published token ids and class-token pooling.
    """

    def __init__(
        self, name: str, parameters: PathfinderParameters, train: int, test: int, published: bool = False
    ) -> None:
        self.name, self.parameters, self.published = name, parameters, published
        self.sizes = {"train": train, "validation": test, "test": test}

    def load(self, data_dir: str | None) -> Dataset:
        """Generate all splits, or read them from the cache; ``data_dir`` is ignored."""
        # The published and the corrected task share these cached images.
        key = {"code": code_digest("robustbench_wb.tasks.pathfinder.generate"), "parameters": self.parameters}
        images = load_or_make_splits({**key, "sizes": self.sizes}, name=self.name, verb="generate", make=self._make)
        tokens = published_tokens if self.published else level_tokens
        splits = {name: Split(inputs=tokens(part.inputs), labels=part.labels) for name, part in images.items()}
        return Dataset(
            label=self.name,
            classes=("apart", "joined"),
            train=splits["train"],
            test=splits["test"],
            shape=sequence_shape(self.parameters.window**2, 2, self.published),
            validation=splits["validation"],
            shortcuts=("majority", "pixels"),
        )

    def _make(self) -> dict[str, Split]:
        found = {
            name: generate_images(size, self.parameters, seed=_DATA_SEED, label=name)
            for name, size in self.sizes.items()
        }
        return {name: Split(inputs=part.images[:, None], labels=part.labels) for name, part in found.items()}


PATHFINDER = PathfinderTask("pathfinder", HARD, train=160_000, test=20_000)
PATHFINDER_EASY = PathfinderTask("pathfinder-easy", EASY, train=20_000, test=2_000)
PATHX = PathfinderTask("path-x", PATH_X, train=160_000, test=20_000)
LRA_PATHFINDER = PathfinderTask("lra-pathfinder", HARD, train=160_000, test=20_000, published=True)
LRA_PATHX = PathfinderTask("lra-path-x", PATH_X, train=160_000, test=20_000, published=True)
