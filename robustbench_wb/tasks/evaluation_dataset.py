"""Dataset that may have nothing to train on."""

from dataclasses import replace

from robustbench_wb.tasks.task import Dataset


class EvaluationDataset(Dataset):
    """Dataset whose training split may have no samples; models are then evaluated as they are.

    Raises:
        DataError: inputs or labels of another split have wrong types, shapes or ranges.
    """

    def __post_init__(self) -> None:
        """Check all splits that have samples."""
        if len(self.train):
            super().__post_init__()
        else:
            replace(self, train=self.test)
