"""Does a model behave like a classifier? Asked once, before hours are spent on it."""

import torch
from torch import Tensor, nn

from robustbench_wb.errors import SubjectError
from robustbench_wb.models.shape import ImageShape


def probe(model: nn.Module, shape: ImageShape, device: torch.device | str) -> None:
    """Pass two black, two white and two grey images through the model, which must already be on ``device``.

    Every submodule's train or eval mode is put back afterwards.

    Raises:
        SubjectError: it raised, or the logits are not a finite float tensor of shape (2, classes).
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        for level, colour in ((0.0, "black"), (1.0, "white"), (0.5, "grey")):
            images = torch.full((2, shape.channels, shape.height, shape.width), level, device=device)
            _check(_forward(model, images), shape.classes, colour)
    finally:
        for module, training in modes:
            module.training = training


def _forward(model: nn.Module, images: Tensor) -> object:
    try:
        with torch.no_grad():
            return model(images)
    except Exception as error:
        size = tuple(images.shape)
        raise SubjectError(f"the model raised {type(error).__name__} on images of {size}: {error}") from error


def _check(logits: object, classes: int, colour: str) -> None:
    if not isinstance(logits, Tensor):
        raise SubjectError(f"the model returned a {type(logits).__name__}; logits must be a float tensor (B, classes)")
    if not logits.is_floating_point():
        raise SubjectError(f"the model returned {logits.dtype}; logits must be float, not labels")
    if logits.shape != (2, classes):
        raise SubjectError(f"the model returned shape {tuple(logits.shape)} for 2 images; expected (2, {classes})")
    if not torch.isfinite(logits).all():
        raise SubjectError(f"the model's logits for {colour} images are not finite")
