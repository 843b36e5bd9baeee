"""Dataset that may have nothing to train on, or take only some outputs of a model."""

from dataclasses import dataclass, replace
from functools import cached_property

from robustbench_wb.models.chosen_outputs import TakenOutputs
from robustbench_wb.spec import digest
from robustbench_wb.tasks.lexicon import Lexicon
from robustbench_wb.tasks.task import Dataset


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluationDataset(Dataset):
    """Dataset whose training split may have no samples; models are then evaluated as they are.

    Raises:
        DataError: inputs or labels of another split have wrong types, shapes or ranges.
    """

    outputs: TakenOutputs | None = None
    """Outputs of a model that are the classes of the task; None: each output is a class."""

    def __post_init__(self) -> None:
        """Check all splits that have samples."""
        if len(self.train):
            super().__post_init__()
        else:
            replace(self, train=self.test)

    @cached_property
    def lexicon(self) -> Lexicon:
        """Most frequent words of the training texts, else of the evaluated ones."""
        return Lexicon(self.train.texts or self.test.texts)

    @cached_property
    def digest(self) -> str:
        """Digest of the test split and of the outputs that are taken, which identifies the evaluated samples."""
        return self.test.digest() if self.outputs is None else digest([self.test.digest(), self.outputs])
