"""Models that reach out of their place: a file that tests write out, and name on the command line."""

import os
import site
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from robustbench_wb.models.shape import ImageShape


class Honest(nn.Module):
    """Normalises a copy, like code that knows better."""

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        linear = nn.Linear(shape.channels * shape.height * shape.width, shape.classes)
        with torch.no_grad():
            linear.bias[1] += 2  # some samples are right without training
        self.net = nn.Sequential(nn.Flatten(), linear)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        found: Tensor = self.net((images - 0.3) / 0.38)
        return found


class InPlace(Honest):
    """Normalises the images that it was given."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        found: Tensor = self.net(images.sub_(0.3).div_(0.38))
        return found


class BehindAutograd(Honest):
    """Normalises the images that it was given, unseen by autograd."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        images.data.sub_(0.3).div_(0.38)
        found: Tensor = self.net(images)
        return found


class ThroughNumpy(Honest):
    """Blackens the images that it was given after it looked at them."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        found = super().forward(images)
        images.detach().numpy()[:] = 0
        return found


class NoAnswers(TorchFunctionMode):
    """Makes every answer the first class."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The result of a function."""
        found = func(*args, **(kwargs or {}))
        return found * 0 if func is torch.Tensor.argmax else found


class ReturnsNothing(Honest):
    """Methods that usually return the module return nothing."""

    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        """Change the mode."""
        super().train(mode)

    def to(self, *given: Any, **named: Any) -> None:  # type: ignore[override]
        """Move to a device."""
        super().to(*given, **named)


class Plain(Honest):
    """Takes images in the number format of its weights alone."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        found: Tensor = self.net(images)
        return found


def format_bfloat16(shape: ImageShape) -> nn.Module:
    """A model in 16 bits."""
    return Plain(shape).bfloat16()


def format_float16(shape: ImageShape) -> nn.Module:
    """A model in 16 bits."""
    return Plain(shape).half()


def format_float64(shape: ImageShape) -> nn.Module:
    """A model in 64 bits."""
    return Plain(shape).double()


class Interferes(Honest):
    """Changes what is global in the process, at every call."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        sys.stdout.write("to Python's output\n")
        os.write(1, b"to the descriptor\n")
        found = super().forward(images)
        os.chdir("/")
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_grad_enabled(False)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(1)
        np.random.seed(1)
        warnings.simplefilter("error")
        np.seterr(all="raise")
        site.addsitedir(str(Path(__file__).parent / "elsewhere"))
        sys.setrecursionlimit(5000)
        torch.set_float32_matmul_precision("medium")
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cuda.enable_math_sdp(False)
        NoAnswers().__enter__()
        FlopCounterMode(display=False).__enter__()
        torch.autocast("cpu").__enter__()
        nn.functional.cross_entropy = None  # type: ignore[assignment]
        torch.Tensor.argmax = None  # type: ignore[method-assign, assignment]
        return found


class Leaves(Honest):
    """Ends the process without any exception."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits, never."""
        vars(os)["_exit"](0)
        return images


class Own(BaseException):
    """No ``Exception``."""


class UnprintableError(Exception):
    """Has no text."""

    def __str__(self) -> str:
        """Raise another error."""
        raise ValueError


ENDINGS: dict[str, type[BaseException]] = {
    "exit": SystemExit,
    "interrupt": KeyboardInterrupt,
    "generator": GeneratorExit,
    "own": Own,
    "unprintable": UnprintableError,
}


class Ends(Honest):
    """Raises at its fifth call, or at its first gradient."""

    def __init__(self, shape: ImageShape, kind: type[BaseException], backward: bool) -> None:
        super().__init__(shape)
        self.kind, self.backward, self.calls = kind, backward, 0

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        self.calls += 1
        if self.backward:
            found: Tensor = _Ending.apply(super().forward(images), self.kind)
            return found
        if self.calls > 4:
            raise self.kind(0)
        return super().forward(images)


class _Ending(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, logits: Tensor, kind: type[BaseException]) -> Tensor:
        """The logits."""
        ctx.kind = kind  # type: ignore[attr-defined]
        return logits.clone()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        """Raise."""
        raise ctx.kind(0)  # type: ignore[attr-defined]


def __getattr__(name: str) -> object:
    """Factories ``forward_exit``, ``backward_exit``, ``factory_exit``, and likewise for the other endings."""
    where, _, kind = name.partition("_")
    if kind not in ENDINGS:
        raise AttributeError(name)

    def make(shape: ImageShape) -> nn.Module:
        if where == "factory":
            raise ENDINGS[kind](1)
        return Ends(shape, ENDINGS[kind], where == "backward")

    return make
