"""Small datasets of every modality, and invariants of every contamination."""

import numpy as np

from robustbench_wb.models.shape import TextShape
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.training_contamination import ContaminatedDataset, TrainingContamination
from robustbench_wb.tasks.task import Dataset, Split, image_shape

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def pictures(count: int, classes: tuple[str, ...], seed: int = 0, channels: int = 1) -> Dataset:
    """Random images of 8 x 8 with random labels."""
    draws = np.random.default_rng(seed)
    inputs = draws.integers(0, 256, (count, channels, 8, 8), np.uint8)
    train = Split(inputs=inputs, labels=draws.integers(0, len(classes), count))
    return Dataset(
        label="pictures", classes=classes, train=train, test=train, shape=image_shape(train, len(classes), 2)
    )


def stream(count: int, length: int, vocabulary: int) -> Dataset:
    """Random chunks of language modelling that include special ids."""
    tokens = np.random.default_rng(1).integers(0, vocabulary, (count, length), np.int32)
    train = Split(inputs=tokens, labels=np.zeros(count, np.int64))
    shape = TextShape(vocabulary=vocabulary, length=length, classes=vocabulary, causal=True)
    return Dataset(label="stream", classes=(), train=train, test=train, shape=shape)


def stressor(signature: str) -> TrainingContamination:
    found = parse_stressor(signature)
    assert isinstance(found, TrainingContamination)
    return found


def contaminated(signature: str, dataset: Dataset, seed: int = 0, data_dir: str | None = None) -> ContaminatedDataset:
    return stressor(signature).contaminate(dataset, seed, data_dir)


def differing(dataset: Dataset, found: ContaminatedDataset) -> set[int]:
    """Rows of the training split that changed."""
    before, after = dataset.train, found.dataset.train
    inputs = (before.inputs != after.inputs).reshape(len(before), -1).any(1)
    return set(np.flatnonzero(inputs | (before.labels != after.labels)).tolist())
