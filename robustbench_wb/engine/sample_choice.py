"""Which samples of a test split are evaluated."""

import numpy as np
import torch

from robustbench_wb import rng
from robustbench_wb.engine.measure import TaskSamples
from robustbench_wb.tasks.task import Dataset


def choose_samples(dataset: Dataset, count: int | None) -> TaskSamples:
    """The first ``count`` samples of a fixed random order of the test split (None: all), sorted by id.

    The order depends on the size of the split alone, so that a larger count contains every smaller one.
    """
    total = len(dataset.test)
    ids = np.arange(total, dtype=np.int32)
    if count is not None and count < total:
        chosen = rng.permutation(total, 0, "evaluated-samples")[:count]
        ids = torch.sort(chosen).values.numpy().astype(np.int32)
    test = dataset.test
    return TaskSamples(
        ids=ids,
        inputs=np.asarray(test.inputs[ids]),
        labels=test.labels[ids],
        language=dataset.shape.causal,
        texts=[test.texts[row] for row in ids.tolist()] if test.texts else (),
        tokenizer=dataset.tokenizer,
        lexicon=dataset.lexicon,
        split=test,
        shape=dataset.shape,
        sizes=None if test.sizes is None else test.sizes[ids],
    )
