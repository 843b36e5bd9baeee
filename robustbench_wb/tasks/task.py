"""What a task is: a dataset, its splits and the facts that a model needs. No torch, no dataset is loaded here."""

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
"""Without a stated patch size, the smallest patch that leaves at most this many tokens is taken."""
MOMENT_BYTES = 1 << 25
"""How many bytes of pixels are enough to know their mean and deviation."""


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs and labels of one split, in the order of their source."""

    inputs: NDArray[Any]
    """Images: uint8, (N, C, H, W), levels 0..255. Text: token ids, int32, (N, L), padded with 0 on the right. May be
    memory-mapped."""
    labels: NDArray[np.int64]
    """Shape (N,), values 0..classes-1; zeros in language modelling, where the text itself is the answer."""
    texts: Sequence[str] = ()
    """The N texts that the token ids stand for; empty for images and in language modelling."""
    sizes: NDArray[np.int32] | None = None
    """Tokens that each of N texts has, however many of them ``inputs`` holds, (N,); None where nothing was cut."""

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: slice) -> "Split":
        """Some of the samples."""
        sizes = None if self.sizes is None else self.sizes[rows]
        return Split(self.inputs[rows], self.labels[rows], self.texts[rows], sizes)

    def digest(self) -> str:
        """SHA-256 (hex) over shape and bytes of inputs, labels and texts: one changed pixel or letter changes it."""
        sha = hashlib.sha256(f"{self.inputs.shape}{self.labels.shape}".encode())
        sha.update(np.ascontiguousarray(self.inputs).data)
        sha.update(np.ascontiguousarray(self.labels).data)
        for text in self.texts:
            sha.update(hashlib.sha256(text.encode()).digest())
        return sha.hexdigest()

    def moments(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation per channel of pixels in [0, 1], over the first :data:`MOMENT_BYTES` of images.

        Counted from histograms of the 256 levels: exact, and no copy in floating point. A constant channel gets 1/1000
        as deviation, so that it can be divided by.
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


@dataclass(frozen=True, eq=False)
class Dataset:
    """A loaded task.

    Raises:
        DataError: samples that nothing true can be measured on; a task of a plug-in may give such.
    """

    label: str
    """The data as it really is; carries a suffix like ``-jpeg75`` when the images are a lossy copy."""
    classes: tuple[str, ...]
    train: Split
    test: Split
    shape: Shape
    """What the task asks of a model."""
    tokenizer: Tokenizer | None = None
    """What made the token ids of the texts; None for images, and for sequences that are no texts."""
    validation: Split | None = None
    """Samples to choose by, held out of the training split; None where the task has none of its own."""
    shortcuts: tuple[str, ...] = ()
    """Names of the baselines that stand beside every score of the task (robustbench_wb.training.shortcuts)."""

    def __post_init__(self) -> None:
        parts = {"train": self.train, "test": self.test, "validation": self.validation}
        for name, split in parts.items():
            problem = None if split is None else _problem(split, self.shape)
            if problem:
                raise DataError(f"task {self.label!r}, {name} split: {problem}")

    def on_validation(self) -> "Dataset":
        """The same task with its validation samples in place of the test split.

        Raises:
            DataError: it has none.
        """
        if self.validation is None:
            raise DataError(f"task {self.label!r} has no validation split; tests can be had of its test split alone")
        return replace(self, label=f"{self.label}-validation", test=self.validation, validation=None)

    @cached_property
    def digest(self) -> str:
        """That of the test split: which samples a number is about."""
        return self.test.digest()

    @cached_property
    def worded_digest(self) -> str:
        """The same with the words of the training texts, for stressors that take theirs from them."""
        return digest([self.digest, self.lexicon.words])

    @cached_property
    def lexicon(self) -> Lexicon:
        """The words of the training texts."""
        return Lexicon(self.train.texts)


class Task(Protocol):
    """Anything that can produce a dataset. Registered by name, or made from a hub id."""

    name: str

    def load(self, data_dir: str | None) -> Dataset:
        """Load both splits; ``data_dir`` is a local mirror in hub layout, tried first.

        Raises:
            DataError: the data cannot be had, or are not what the task needs.
        """
        ...


class TaskFacts(Spec):
    """Facts about a named task that its files do not say."""

    name: str
    summary: str
    source: str
    """Hub id, or ``embedded``."""
    patch: int | None = None
    lossless: bool = False
    """True when the original images are not JPEG: a JPEG copy is then named as such."""


def _problem(split: Split, shape: Shape) -> str:
    """What is wrong with the samples of a split; empty: nothing."""
    inputs, labels = split.inputs, split.labels
    if len(inputs) != len(labels) or not len(labels):
        return f"{len(inputs)} inputs and {len(labels)} labels"
    if isinstance(shape, ImageShape):
        wanted = (shape.channels, shape.height, shape.width)
        if inputs.dtype != np.uint8 or inputs.shape[1:] != wanted:
            found = f"{inputs.dtype} {inputs.shape[1:]}"
            return f"images are levels from 0 to 255, uint8 {wanted}; these are {found}"
    elif not np.issubdtype(inputs.dtype, np.integer):
        return f"tokens are whole numbers; these are {inputs.dtype}"
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= shape.classes:
        return f"labels run from {low} to {high}; the task has {shape.classes} classes, numbered from 0"
    return ""


def image_shape(train: Split, classes: int, patch: int) -> ImageShape:
    """The shape of an image task with patches of ``patch`` pixels."""
    _, channels, height, width = train.inputs.shape
    return ImageShape(channels=channels, height=height, width=width, classes=classes, patch=patch)


def default_patch(height: int, width: int) -> int:
    """The smallest patch that divides both sides and leaves at most :data:`MAX_TOKENS` tokens.

    Raises:
        DataError: no such patch (the sides share no divisor large enough).
    """
    for patch in range(1, min(height, width) + 1):
        if height % patch == 0 and width % patch == 0 and (height // patch) * (width // patch) <= MAX_TOKENS:
            return patch
    raise DataError(f"images of {height}x{width} cannot be cut into at most {MAX_TOKENS} square patches")
