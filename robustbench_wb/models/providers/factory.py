"""What every provider hands over: a function that makes the model, and the identity of what is behind it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from robustbench_wb.errors import HarnessError, SubjectError
from robustbench_wb.models.shape import Shape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

Encode = Callable[[Sequence[str], int], "NDArray[np.int32]"]


@dataclass(frozen=True)
class Factory:
    """Makes a model from outside: images in [0, 1], (B, C, H, W), or token ids, (B, L), to logits (B, classes)."""

    reference: str
    """As the request wrote it."""
    code_digest: str
    """Digest of the code, the library's release and the configuration behind the model. Weights are digested apart."""
    make: Callable[[Shape], object] = field(repr=False, compare=False)
    encode: Encode | None = field(default=None, repr=False, compare=False)
    """For a text model with a tokenizer of its own: texts and a length to ids, int32 (N, length), padded with 0 on the
    right."""

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
