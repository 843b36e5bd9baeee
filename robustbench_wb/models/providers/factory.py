"""What every provider hands over: a function that makes the model, and the identity of what is behind it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from robustbench_wb.errors import HarnessError, SubjectError
from robustbench_wb.models.shape import Shape
from robustbench_wb.models.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Factory:
    """Makes a model from outside: images in [0, 1], (B, C, H, W), or token ids, (B, L), to logits (B, classes)."""

    reference: str
    """As the request wrote it."""
    code_digest: str
    """Digest of the code, the library's release and the configuration behind the model. Weights are digested apart."""
    make: Callable[[Shape], object] = field(repr=False, compare=False)
    tokenizer: Callable[[], Tokenizer] | None = field(default=None, repr=False, compare=False)
    """Loads the tokenizer of a text model that has one of its own."""

    def __call__(self, shape: Shape) -> "nn.Module":
        """The model for inputs and classes of this shape.

        Raises:
            SubjectError: it cannot be made, or is something else than a module.
        """
        from torch import nn

        try:
            model = self.make(shape)
        except HarnessError:
            raise
        except (Exception, SystemExit) as error:
            raise SubjectError(f"{self.reference} raised {type(error).__name__}: {error}") from error
        if not isinstance(model, nn.Module):
            raise SubjectError(f"{self.reference} returned a {type(model).__name__}; it must return a torch.nn.Module")
        return model
