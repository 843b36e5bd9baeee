"""The model given to ``evaluate``, with its preprocessing inside."""

import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_wb.api.arguments import COUNTS, whole_number
from robustbench_wb.api.evaluation_samples import (
    AnyTokenizer,
    Labels,
    as_tokenizer,
    check_images,
    check_labels,
    check_texts,
    image_samples,
    refuse_masked,
    text_samples,
)
from robustbench_wb.engine.task_samples import TaskSamples
from robustbench_wb.errors import UsageError, first_line
from robustbench_wb.models.backbone import Transformer
from robustbench_wb.models.chosen_outputs import ChosenOutputs
from robustbench_wb.models.providers.text_model import ModelTokenizer, TextModel
from robustbench_wb.models.wrapped import Logits, WrappedModel, normalise, refuse_incomplete


def image_task(
    model: Logits,
    inputs: object,
    labels: Labels,
    *,
    mean: Sequence[float] | float | None,
    std: Sequence[float] | float | None,
    transform: Logits | None,
) -> tuple[nn.Module, TaskSamples]:
    """The model behind its preprocessing, and the images; see ``robustbench_wb.evaluate``.

    Raises:
        UsageError: an argument cannot be used.
    """
    _check_callable(model)
    images = check_images(inputs)
    samples = image_samples(images, check_labels(labels, len(images)))
    return _image_model(model, mean=mean, std=std, transform=transform, channels=images.shape[1]), samples


def text_task(
    model: Logits, inputs: object, labels: Labels, *, tokenizer: AnyTokenizer, length: int | None
) -> tuple[nn.Module, TaskSamples]:
    """The model as a function of token ids padded with 0, and the texts; see ``robustbench_wb.evaluate``.

    Raises:
        UsageError: an argument cannot be used.
    """
    _check_callable(model)
    if length is not None:
        whole_number("length", length, low=1, stop=COUNTS)
    texts = check_texts(inputs)
    known = as_tokenizer(tokenizer, texts, _positions(model))
    numbers = check_labels(labels, len(texts))
    return _text_model(model, known), text_samples(texts, numbers, tokenizer=known, length=length)


def chosen_outputs(outputs: Sequence[int], total: int) -> ChosenOutputs:
    """Outputs of a model of ``total`` logits that are possible answers.

    Raises:
        UsageError: fewer than two are given, or one is no logit of the model, or is given twice.
    """
    try:
        columns = tuple(operator.index(output) for output in outputs)
    except TypeError:
        raise UsageError(f"outputs: give numbers of outputs, not {outputs!r}", "outputs") from None
    odd = next((output for output in columns if not 0 <= output < total), None)
    if odd is not None:
        raise UsageError(f"outputs: the model has the outputs 0..{total - 1}, and no {odd}", "outputs")
    if len(set(columns)) < max(2, len(columns)):
        raise UsageError("outputs: give two different outputs or more, and each once", "outputs")
    return ChosenOutputs(total=total, columns=columns)


def _check_callable(model: object, name: str = "model") -> None:
    if not callable(model) or isinstance(model, type):
        raise UsageError(f"{name}: {model!r} is no module and no function", name)
    if isinstance(model, nn.Module):
        refuse_incomplete(model)


def _image_model(
    model: Logits,
    *,
    mean: Sequence[float] | float | None,
    std: Sequence[float] | float | None,
    transform: Logits | None,
    channels: int,
) -> nn.Module:
    if transform is not None:
        _check_callable(transform, "transform")
    if transform is not None and not (mean is None and std is None):
        raise UsageError("transform and mean both preprocess; pass one of them", "transform", "mean")
    if (mean is None) != (std is None):
        raise UsageError("mean and std go together; one is missing", "mean", "std")
    if mean is None or std is None:
        return WrappedModel(model, None if transform is None else _CheckedTransform(transform))
    for name, value in (("mean", mean), ("std", std)):
        _check_representable(name, value)
    normalised = normalise(mean, std, channels)
    ends = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, channels, 1, 1)
    if not bool(torch.isfinite(normalised(ends)).all()):
        raise UsageError("mean and std: normalised images are not finite in float32", "mean", "std")
    return WrappedModel(model, normalised)


def _check_representable(name: str, value: Sequence[float] | float) -> None:
    """Refuse numbers of a normalisation that are not finite, or that float32 cannot hold."""
    if isinstance(value, Tensor) and value.is_meta:
        raise UsageError(f"{name}: tensors on the meta device have no values; pass numbers", name)
    refuse_masked(name, value)
    beyond = f"{name}: a number is beyond float32, in which images are normalised"
    try:
        sizes, limits = np.abs(np.asarray(value, np.float64)), np.finfo(np.float32)
    except OverflowError as error:
        raise UsageError(beyond, name) from error
    except (TypeError, ValueError, RuntimeError):  # what is no number is told where it is used
        return
    if not np.isfinite(sizes).all():
        raise UsageError(f"{name}: numbers must be finite, got {value!r}", name)
    vanishing = (sizes > 0) & (sizes < limits.tiny) & (name == "std")  # a mean may as well be 0
    if ((sizes > limits.max) | vanishing).any():
        raise UsageError(beyond, name)


class _CheckedTransform(nn.Module):
    """Preprocessing of a user, which has to keep the number of images of each batch."""

    def __init__(self, transform: Logits) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, images: Tensor) -> Tensor:
        """Preprocessed images.

        Raises:
            UsageError: there is no tensor, or not one entry per image.
        """
        found: object = self.transform(images)
        if not isinstance(found, Tensor):
            raise UsageError(f"transform: returned {type(found).__name__}, not a tensor of images", "transform")
        if found.shape[:1] != images.shape[:1]:
            shapes = f"returned shape {tuple(found.shape)} for images of shape {tuple(images.shape)}"
            raise UsageError(f"transform: {shapes}; return one entry per image", "transform")
        return found


def check_transform(transform: Logits, images: Tensor) -> None:
    """Find out whether it was the preprocessing, and not the model behind it, that failed on images (B, C, H, W).

    Raises:
        UsageError: it raises.
    """
    try:
        transform(images)
    except Exception as error:
        raise UsageError(f"transform: raised {type(error).__name__}: {first_line(error)}", "transform") from error


def _text_model(model: Logits, tokenizer: object) -> nn.Module:
    if not isinstance(tokenizer, ModelTokenizer):
        return model if isinstance(model, Transformer) else WrappedModel(model, None)
    if isinstance(model, nn.Module) and hasattr(model, "config"):
        return TextModel(model, tokenizer, fresh_head=False)
    if tokenizer.pad != 0:
        raise UsageError(
            f"tokenizer: pads with id {tokenizer.pad}; pass a model of transformers, or a tokenizer that pads with 0",
            "tokenizer",
        )
    return WrappedModel(model, None)


def _positions(model: Logits) -> int | None:
    """How many tokens a model of transformers has places for; None: it does not say."""
    found = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    return found if isinstance(found, int) else None


@contextmanager
def pad_token_kept(model: Logits) -> Iterator[None]:
    """Put the padding id of a model of transformers back: a model without one is lent the tokenizer's."""
    config = getattr(model, "config", None)
    before = getattr(config, "pad_token_id", None)
    try:
        yield
    finally:
        if config is not None and getattr(config, "pad_token_id", None) != before:
            config.pad_token_id = before
