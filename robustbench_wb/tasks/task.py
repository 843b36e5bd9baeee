"""Interface of tasks: the dataset, its splits, and the shape that a model needs. Nothing here imports torch."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError
from robustbench_wb.models.shape import ImageShape, Shape
from robustbench_wb.models.tokenizer import Tokenizer
from robustbench_wb.spec import Spec, digest
from robustbench_wb.tasks.lexicon import Lexicon

MAX_TOKENS = 64
"""Largest number of patches per image under the default patch size, see ``default_patch``."""
MOMENT_BYTES = 1 << 25
"""Number of pixel values from which the mean and standard deviation of a split are estimated."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Split:
    """Inputs and labels of one split, in the order of the source."""

    inputs: NDArray[Any]
    """Images: uint8 (N, C, H, W), levels 0..255. Texts: token ids, int32 (N, L), padded with 0 on the right.

    The array may be memory-mapped."""
    labels: NDArray[np.int64]
    """Labels (N,), 0 to classes - 1; zeros in language modelling, where the tokens themselves are the targets."""
    texts: Sequence[str] = ()
    """The N texts that were tokenized; empty for images and in language modelling."""
    token_counts: NDArray[np.int32] | None = None
    """Number of tokens (N,) of each text before it was cut to L; None where inputs are never cut."""

    def __len__(self) -> int:
        return len(self.labels)

    def select_rows(self, rows: slice) -> "Split":
        """Return the samples ``rows`` as a split."""
        counts = None if self.token_counts is None else self.token_counts[rows]
        return Split(inputs=self.inputs[rows], labels=self.labels[rows], texts=self.texts[rows], token_counts=counts)

    def digest(self) -> str:
        """SHA-256 (hex) over shape and bytes of inputs, labels and texts. One changed pixel or letter changes it."""
        sha = hashlib.sha256(f"{self.inputs.shape}{self.labels.shape}".encode())
        sha.update(np.ascontiguousarray(self.inputs).data)
        sha.update(np.ascontiguousarray(self.labels).data)
        for text in self.texts:
            sha.update(hashlib.sha256(text.encode()).digest())
        return sha.hexdigest()

    def moments(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation per channel of pixels in [0, 1], over the first ``MOMENT_BYTES`` values.

        They are computed from histograms of the 256 levels, exactly and without a floating-point copy. The standard
        deviation is at least 1/1000, so that a constant channel can be divided by it.
        """
        share = self.inputs[: max(1, MOMENT_BYTES // self.inputs[0].size)]
        levels = np.arange(256) / 255
        mean, std = [], []
        for channel in range(share.shape[1]):
            weight = np.bincount(share[:, channel].ravel(), minlength=256) / share[:, channel].size
            centre = float(weight @ levels)
            mean.append(centre)
            std.append(max(float(np.sqrt(weight @ (levels - centre) ** 2)), 1e-3))
        return mean, std


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Loaded data of a task: its splits, the shape of inputs and outputs, and facts for reporting.

    Raises:
        DataError: inputs or labels have wrong types, shapes or ranges, which a plug-in task may return.
    """

    label: str
    """Name of the data as loaded, with a suffix such as ``-jpeg75`` if the images are a lossy copy."""
    classes: tuple[str, ...]
    """Names of the classes; unused in language modelling."""
    train: Split
    test: Split
    shape: Shape
    """Shape of the inputs and outputs of a model for the task."""
    tokenizer: Tokenizer | None = None
    """Tokenizer of the texts; None for images and for sequences that are not texts."""
    validation: Split | None = None
    """Samples for model selection, held out of the training split; None if the task has none."""
    shortcuts: tuple[str, ...] = ()
    """Names of the shortcut baselines evaluated on the task (``robustbench_wb.training.shortcuts``)."""

    def __post_init__(self) -> None:
        parts = {"train": self.train, "test": self.test, "validation": self.validation}
        for name, split in parts.items():
            problem = None if split is None else _problem(split, self.shape)
            if problem:
                raise DataError(f"task {self.label!r}, {name} split: {problem}")

    def on_validation(self) -> "Dataset":
        """Return a copy of the dataset whose test split is the validation split.

        Raises:
            DataError: the task has no validation split.
        """
        if self.validation is None:
            raise DataError(f"task {self.label!r} has no validation split; evaluate its test split")
        return replace(self, label=f"{self.label}-validation", test=self.validation, validation=None)

    @cached_property
    def digest(self) -> str:
        """Digest of the test split, which identifies the evaluated samples."""
        return self.test.digest()

    @cached_property
    def digest_with_lexicon(self) -> str:
        """Digest of the test split and the lexicon, for stressors that draw words from the training texts."""
        return digest([self.digest, self.lexicon.words])

    @cached_property
    def lexicon(self) -> Lexicon:
        """Most frequent words of the training texts."""
        return Lexicon(self.train.texts)


class Task(Protocol):
    """Interface of a task: an object with a name that loads a dataset. Tasks are registered or made from a hub id."""

    name: str

    def load(self, data_dir: str | None) -> Dataset:
        """Load the dataset; ``data_dir`` is a local mirror in hub layout, which is tried before the hub.

        Raises:
            DataError: the data are unavailable or unsuitable for the task.
        """
        ...


class TaskFacts(Spec):
    """Facts about an image task that its files do not contain."""

    name: str
    summary: str
    source: str
    """Hub id of the dataset."""
    patch: int | None = None
    """Side of a patch in pixels; None: ``default_patch``."""
    lossless: bool = False
    """Whether the original images are stored without loss, so that a JPEG copy is a different dataset."""


def _problem(split: Split, shape: Shape) -> str:
    """Describe what is wrong with the samples of a split; empty if all is well."""
    inputs, labels = split.inputs, split.labels
    if len(inputs) != len(labels) or not len(labels):
        return f"{len(inputs)} inputs and {len(labels)} labels"
    if isinstance(shape, ImageShape):
        wanted = (shape.channels, shape.height, shape.width)
        if inputs.dtype != np.uint8 or inputs.shape[1:] != wanted:
            found = f"{inputs.dtype} {inputs.shape[1:]}"
            return f"images must be levels from 0 to 255, uint8 {wanted}; these are {found}"
    elif not np.issubdtype(inputs.dtype, np.integer):
        return f"tokens must be integers; these are {inputs.dtype}"
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= shape.classes:
        return f"labels run from {low} to {high}; the task has {shape.classes} classes, numbered from 0"
    return ""


def image_shape(train: Split, classes: int, patch: int) -> ImageShape:
    """Shape of an image task with ``patch`` x ``patch`` pixels per patch."""
    _, channels, height, width = train.inputs.shape
    return ImageShape(channels=channels, height=height, width=width, classes=classes, patch=patch)


def default_patch(height: int, width: int) -> int:
    """Smallest patch side that divides both sides and gives at most ``MAX_TOKENS`` patches.

    Raises:
        DataError: the two sides have no common divisor that is large enough.
    """
    for patch in range(1, min(height, width) + 1):
        if height % patch == 0 and width % patch == 0 and (height // patch) * (width // patch) <= MAX_TOKENS:
            return patch
    raise DataError(f"images of {height}x{width} cannot be cut into at most {MAX_TOKENS} square patches")
