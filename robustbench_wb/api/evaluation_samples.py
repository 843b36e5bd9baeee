"""Checks of the images, texts and labels given to ``evaluate``: each problem is one line that names the parameter."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from robustbench_wb.engine.task_samples import TaskSamples
from robustbench_wb.errors import SubjectError, UsageError, first_line
from robustbench_wb.models.providers.text_model import LibraryTokenizer, ModelTokenizer
from robustbench_wb.models.shape import PAD, ImageShape, TextShape
from robustbench_wb.models.tokenizer import Span, Tokenizer
from robustbench_wb.stressors.sample_batch import TextSide
from robustbench_wb.tasks.lexicon import Lexicon
from robustbench_wb.tasks.task import Split

Array = Tensor | NDArray[np.generic]
Labels = Array | Sequence[int]
PART_VALUES = 1 << 20
"""Pixel values that are checked or converted together. Cannot change a result."""
TokenIds = Callable[[str], Sequence[int]]
"""A function from one text to its token ids, all above 0."""


class TransformersTokenizer(Protocol):
    """The part of a tokenizer of transformers that tells it from other functions."""

    @property
    def all_special_ids(self) -> Sequence[int]:
        """Ids of special tokens."""
        ...

    def __call__(self, text: list[str]) -> object:
        """Token ids of texts."""
        ...


AnyTokenizer = Tokenizer | TransformersTokenizer | TokenIds


def check_images(inputs: object) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Images as an array: uint8 levels 0..255 or float32 in [0, 1], (N, C, H, W).

    Raises:
        UsageError: another layout, type or range, pixels that are not finite, or no image at all.
    """
    images = _array("inputs", inputs)
    shape = images.shape
    if images.ndim != 4:
        raise UsageError(f"inputs: images have shape (N, C, H, W), these have {shape}", "inputs")
    if 0 in shape:
        raise UsageError(f"inputs: there is no image in an array of shape {shape}", "inputs")
    if shape[1] not in (1, 3) and shape[3] in (1, 3, 4):
        raise UsageError(f"inputs: shape {shape} looks like (N, H, W, C); pass images as (N, C, H, W)", "inputs")
    if images.dtype == np.uint8:
        if images.max() == 1:
            raise UsageError(
                "inputs: uint8 images have levels 0..255, these only 0 and 1; pass them as float", "inputs"
            )
        return cast("NDArray[np.uint8]", images)
    if not np.issubdtype(images.dtype, np.floating):
        raise UsageError(f"inputs: images are uint8 (0..255) or float in [0, 1], these are {images.dtype}", "inputs")
    found = images.astype(np.float32, copy=False)
    extremes = [(found[rows].min(), found[rows].max()) for rows in _parts(found)]
    if not np.isfinite(extremes).all():
        raise UsageError("inputs: some pixels are not finite (NaN or infinity)", "inputs")
    low, high = float(np.min(extremes)), float(np.max(extremes))
    if low < 0 or high > 1:
        advice = "divide by 255, or pass uint8" if low >= 0 else "pass mean and std instead of normalising before"
        raise UsageError(f"inputs: float images lie in [0, 1], these in [{low:.4g}, {high:.4g}]; {advice}", "inputs")
    return found


def _parts(images: NDArray[np.uint8] | NDArray[np.float32]) -> Iterator[slice]:
    """Rows of about ``PART_VALUES`` pixel values each: a second array of all images may not fit into memory."""
    size = max(1, PART_VALUES // images[0].size)
    return (slice(first, first + size) for first in range(0, len(images), size))


def refuse_masked(name: str, values: object) -> None:
    """Refuse arrays of numpy with masked values, and lists of such arrays: other code does not look at the mask.

    Raises:
        UsageError: a value is masked.
    """
    parts = values if isinstance(values, list | tuple) else ()
    if any(np.ma.is_masked(part) for part in (values, *parts)):
        advice = "leave the masked samples out, or pass values.filled(...)"
        raise UsageError(f"{name}: a masked array hides values; {advice}", name)


def _array(name: str, values: object) -> NDArray[np.generic]:
    refuse_masked(name, values)
    if isinstance(values, Tensor):
        return _tensor_array(name, values)
    if isinstance(values, Dataset | DataLoader):
        stacked = "images, labels = zip(*dataset); pass torch.stack(images), torch.tensor(labels)"
        raise UsageError(f"{name}: pass an array or a tensor, not a {type(values).__name__}; {stacked}", name)
    try:
        found = np.asarray(values)
        # Flipped channels, for example; torch takes no array that is read backwards.
        return found.copy() if min(found.strides, default=0) < 0 else found
    except (TypeError, ValueError) as error:  # rows of different lengths
        raise UsageError(f"{name}: no array can be made of them ({first_line(error, 80)})", name) from error


def _tensor_array(name: str, values: Tensor) -> NDArray[np.generic]:
    if values.is_meta:
        raise UsageError(f"{name}: tensors on the meta device have no values; pass them on a real device", name)
    if values.layout != torch.strided:
        raise UsageError(f"{name}: pass a dense tensor (values.to_dense()), not one of layout {values.layout}", name)
    whole = values.detach().cpu()
    try:
        return np.asarray((whole.float() if whole.dtype == torch.bfloat16 else whole).numpy(force=True))
    except (TypeError, RuntimeError) as error:  # floats of 8 bits, for example
        raise UsageError(f"{name}: no array can be made of the tensor ({first_line(error, 80)})", name) from error


def check_labels(labels: Labels, count: int) -> NDArray[np.int64]:
    """Labels as int64 (N,), none below 0.

    Raises:
        UsageError: they are no whole numbers, too large for int64, one-hot rows, or not one per sample.
    """
    found = _array("labels", labels)
    if found.ndim != 1:
        raise UsageError(f"labels: one class number per sample, shape (N,), not {found.shape}", "labels")
    if len(found) != count:
        raise UsageError(f"labels: there are {len(found)} for {count} inputs", "labels")
    if not np.issubdtype(found.dtype, np.integer):
        raise UsageError(f"labels: class numbers are integers from 0, these are {found.dtype}", "labels")
    if int(found.min()) < 0:
        raise UsageError(f"labels: class numbers start at 0, the lowest is {found.min()}", "labels")
    if int(found.max()) > np.iinfo(np.int64).max:
        raise UsageError(f"labels: {found.max()} is no class number: it does not fit into int64", "labels")
    return found.astype(np.int64)


def check_classes(labels: NDArray[np.int64], classes: int) -> None:
    """Refuse labels that the model has no logit for.

    Raises:
        UsageError: a label is not below the number of classes.
    """
    if int(labels.max()) >= classes:
        raise UsageError(
            f"labels: the model has classes 0..{classes - 1}, the highest label is {labels.max()}", "labels"
        )


def doubts_about_labels(labels: NDArray[np.int64], classes: int, accuracy: float, *, image: bool) -> tuple[str, ...]:
    """What suggests that labels do not mean the outputs of the model, one line each.

    Args:
        labels: class numbers, (N,).
        classes: number of logits.
        accuracy: share of samples that are correct without a perturbation; NaN if unknown.
        image: whether the samples are images.
    """
    low, high = int(labels.min()), int(labels.max())
    # By chance, ten evenly spread labels all lie in one half of the outputs with probability 0.001.
    if accuracy < 0.5 and len(labels) >= 10 and 2 * (high + 1) <= classes:
        return (
            f"labels lie in {low}..{high}, but the model has {classes} outputs: a label is the number of an output. "
            "Map each label to the output that means its class, or give the model a head for your classes",
        )
    if accuracy == 0:
        suspects = "labels, mean, std and the order of the channels" if image else "labels and tokenizer"
        return (f"no sample is correct without a perturbation: check {suspects}",)
    return ()


def image_samples(images: NDArray[np.uint8] | NDArray[np.float32], labels: NDArray[np.int64]) -> TaskSamples:
    """Samples to measure; their ids are 0..N-1."""
    _, channels, height, width = images.shape
    # Nothing asks an image in memory for a patch size; the shape must have one.
    shape = ImageShape(channels=channels, height=height, width=width, classes=1 + int(labels.max()), patch=1)
    levels = _levels(images)
    ids = np.arange(len(labels), dtype=np.int32)
    return TaskSamples(ids=ids, inputs=images, labels=labels, split=Split(inputs=levels, labels=labels), shape=shape)


def _levels(images: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.uint8]:
    """Nearest levels 0..255 of images; uint8 images are their own levels."""
    if images.dtype == np.uint8:
        return cast("NDArray[np.uint8]", images)
    found = np.empty(images.shape, np.uint8)
    for rows in _parts(images):
        found[rows] = np.rint(images[rows] * 255)
    return found


def check_texts(inputs: object) -> list[str]:
    """Texts as a list.

    Raises:
        UsageError: they are no sequence of strings, there is none, or one holds half of a surrogate pair.
    """
    refuse_masked("inputs", inputs)
    single = isinstance(inputs, str) or (isinstance(inputs, np.ndarray) and not inputs.ndim)
    if single or not isinstance(inputs, Sequence | np.ndarray):
        raise UsageError("inputs: with a tokenizer, pass a list of texts", "inputs")
    texts = list(inputs)
    if not texts:
        raise UsageError("inputs: there is no text", "inputs")
    wrong = [text for text in texts if not isinstance(text, str)]
    if wrong:
        raise UsageError(f"inputs: with a tokenizer, all inputs are texts; one is {type(wrong[0]).__name__}", "inputs")
    for number, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            half = f"U+{ord(text[error.start]):04X}"
            raise UsageError(
                f"inputs: text {number} holds {half}, half of a surrogate pair; decode it anew", "inputs"
            ) from error
    return texts


def text_samples(
    texts: list[str], labels: NDArray[np.int64], *, tokenizer: Tokenizer, length: int | None
) -> TaskSamples:
    """Samples to measure, tokenized; their ids are 0..N-1. Words that attacks may insert come from these texts.

    Args:
        texts: N texts.
        labels: int64 (N,).
        tokenizer: makes token ids of texts, also of perturbed ones.
        length: most tokens of one text; None: as many as the longest has.
    """
    longest = 2 * max(len(text.encode()) for text in texts) + 16  # more tokens than bytes is rare, twice unheard of
    try:
        tokens = tokenizer.encode(texts, longest if length is None else length)
    except Exception as error:
        raise UsageError(f"tokenizer: raised {type(error).__name__}: {first_line(error)}", "tokenizer") from error
    width = max(1, int((tokens != PAD).sum(1).max())) if length is None else length
    vocabulary = max(2, tokenizer.vocabulary)
    return TaskSamples(
        ids=np.arange(len(labels), dtype=np.int32),
        inputs=tokens[:, :width].astype(np.int32),
        labels=labels,
        text=TextSide(tokenizer=tokenizer, texts=texts, lexicon=Lexicon(texts)),
        split=Split(inputs=tokens[:, :width], labels=labels, texts=texts),
        shape=TextShape(vocabulary=vocabulary, length=width, classes=1 + int(labels.max())),
    )


class FunctionTokenizer:
    """A tokenizer made of a function from one text to its token ids; where the tokens stand is not known."""

    special = frozenset({PAD})
    mask: int | None = None
    unknown: int | None = None

    def __init__(self, function: TokenIds, texts: Sequence[str]) -> None:
        self._function = function
        self.vocabulary = 1 + max(max(self._ids(text), default=PAD) for text in texts)

    def _ids(self, text: str) -> list[int]:
        ids = [int(token) for token in self._function(text)]
        if min(ids, default=1) <= PAD:
            raise UsageError("tokenizer: token ids are above 0, which stands for padding", "tokenizer")
        return ids

    def encode(self, texts: Sequence[str], length: int) -> NDArray[np.int32]:
        """Texts to ids, int32 (N, length), cut at the end, padded with 0 on the right."""
        rows = np.full((len(texts), length), PAD, np.int32)
        for row, text in zip(rows, texts, strict=True):
            ids = self._ids(text)[:length]
            row[: len(ids)] = ids
        return rows

    def spans(self, texts: Sequence[str], length: int) -> list[list[Span]]:
        """Never known.

        Raises:
            SubjectError: always.
        """
        raise SubjectError("a function as tokenizer does not say where tokens stand; pass a tokenizer of transformers")


def as_tokenizer(tokenizer: AnyTokenizer, texts: Sequence[str], positions: int | None) -> Tokenizer:
    """The rule of this package for any tokenizer.

    Args:
        tokenizer: one of this package, one of transformers, or a function from a text to its token ids.
        texts: texts that show which ids a function gives.
        positions: how many tokens the model has places for; None: not known.

    Raises:
        UsageError: it is something else, or does not work on the texts.
    """
    if hasattr(tokenizer, "spans") and hasattr(tokenizer, "encode"):
        return cast("Tokenizer", tokenizer)
    if not callable(tokenizer):
        kind = type(tokenizer).__name__
        raise UsageError(f"tokenizer: a {kind} is no tokenizer of transformers and no function of a text", "tokenizer")
    if hasattr(tokenizer, "all_special_ids"):
        return ModelTokenizer(cast("LibraryTokenizer", tokenizer), positions)
    try:
        return FunctionTokenizer(tokenizer, texts)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"tokenizer: raised {type(error).__name__}: {first_line(error)}", "tokenizer") from error
