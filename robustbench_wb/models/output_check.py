"""Check of a model's outputs before a long evaluation starts."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from robustbench_wb.errors import HarnessError, SubjectError, whole_text
from robustbench_wb.models.batching import trim_padding
from robustbench_wb.models.segmentation_shape import SegmentationShape
from robustbench_wb.models.shape import PAD, ImageShape, Shape


def check_outputs(model: nn.Module, shape: Shape, device: torch.device | str) -> None:
    """Check that a model, already on ``device``, returns finite logits of the right shape.

    The model receives two black, two white and two grey images. A text model receives two texts (or pairs of texts) of
    two tokens and two of full length, which repeat one word. The train or eval mode of every submodule is restored.

    Raises:
        SubjectError: the model raised an error, or its logits are not a finite float tensor of the shape of
            ``answer_shape``.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        for inputs, what in _examples(shape, device):
            _check(_forward(model, inputs, what), answer_shape(inputs, shape), what)
    finally:
        for module, training in modes:
            module.training = training


def answer_shape(inputs: Tensor, shape: Shape) -> tuple[int, ...]:
    """Shape of the logits of B inputs.

    It is (B, classes), in language modelling (B, tokens, vocabulary), and in segmentation (B, classes, height, width).
    """
    if isinstance(shape, SegmentationShape):
        return len(inputs), shape.classes, shape.height, shape.width
    return (len(inputs), inputs.shape[1], shape.classes) if shape.causal else (len(inputs), shape.classes)


def example_inputs(shape: Shape) -> Tensor:
    """Two valid inputs on the CPU: grey images, or texts of full length."""
    return [inputs for inputs, _ in _examples(shape, "cpu")][-1]


def _examples(shape: Shape, device: torch.device | str) -> Iterator[tuple[Tensor, str]]:
    if isinstance(shape, ImageShape):
        for level, colour in ((0.0, "black"), (1.0, "white"), (0.5, "grey")):
            size = (2, shape.channels, shape.height, shape.width)
            yield torch.full(size, level, device=device), f"{colour} images"
        return
    for length in (min(2, shape.length), shape.length):
        documents = torch.full((2, shape.documents, shape.length), PAD, device=device)
        documents[..., :length] = shape.vocabulary - 1
        yield trim_padding(documents.flatten(1)), f"texts of {length} tokens"


def _forward(model: nn.Module, inputs: Tensor, what: str) -> object:
    try:
        with torch.no_grad():
            return model(inputs)
    except HarnessError:
        raise
    except Exception as error:
        size = tuple(inputs.shape)
        kind = type(error).__name__
        raise SubjectError(f"the model raised {kind} on {what} of {size}: {whole_text(error)}") from error


def _check(logits: object, answers: tuple[int, ...], what: str) -> None:
    if not isinstance(logits, Tensor):
        raise SubjectError(f"the model returned a {type(logits).__name__}; logits must be a float tensor (B, classes)")
    if not logits.is_floating_point():
        raise SubjectError(f"the model returned {logits.dtype}; logits must be float, not labels")
    if logits.shape != answers:
        kind = what.split()[-1] if what.endswith("images") else "texts"
        raise SubjectError(f"the model returned shape {tuple(logits.shape)} for 2 {kind}; expected {answers}")
    if not torch.isfinite(logits).all():
        raise SubjectError(f"the model's logits for {what} are not finite")
