"""Result type of providers: a function that builds an external model, and the digest of its code."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from robustbench_wb.errors import HarnessError, MeasurementError, SubjectError, whole_text
from robustbench_wb.models.shape import Shape
from robustbench_wb.models.tokenizer import Tokenizer
from robustbench_wb.user_code import UserCode

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Factory:
    """Builds an external model, which maps images (B, C, H, W) in [0, 1] or token ids (B, L) to logits (B, classes)."""

    reference: str
    """Reference of the model, as written in the request."""
    code_digest: str
    """Digest of what is known of the model's code before it is built: library release, configuration, the name of the
    function. Weights have a digest of their own."""
    make: Callable[[Shape], object] = field(repr=False, compare=False)
    tokenizer: Callable[[], Tokenizer] | None = field(default=None, repr=False, compare=False)
    """Loads the model's own tokenizer; None for models without one."""
    running: Callable[[], AbstractContextManager[None]] = field(default=nullcontext, repr=False, compare=False)
    """Context in which the model's code runs while its identity is found."""
    parts: Callable[[], Mapping[str, str]] = field(default=dict, repr=False, compare=False)
    """Digests of the modules and files that the code loaded and read in that context, by name."""
    lasting: bool = True
    """Whether the digest stays the same in another run; if not, nothing about the model is kept."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Notes for the user, one line each."""
    code: UserCode | None = field(default=None, repr=False, compare=False)
    """The code of the model, if it ran before; None: a new guard."""

    def __call__(self, shape: Shape) -> "nn.Module":
        """Build the model for inputs and classes of ``shape``. Its calls are guarded, see ``models.guarded``.

        Raises:
            SubjectError: the model cannot be built, or the result is not a module.
        """
        from torch import nn

        from robustbench_wb.models.accepted_module import accept_module, needs_cast
        from robustbench_wb.models.guarded import guard

        code = self.code or UserCode(self.reference)
        with code.running():
            try:
                model = self.make(shape)
            except MeasurementError:
                raise
            except HarnessError as error:
                raise SubjectError(f"{self.reference}: {error}") from error
            except Exception as error:
                reason = whole_text(error)
                raise SubjectError(f"{self.reference} raised {type(error).__name__}: {reason}") from error
            if not isinstance(model, nn.Module):
                raise SubjectError(
                    f"{self.reference} returned a {type(model).__name__}; it must return a torch.nn.Module"
                )
            accepted = accept_module(model, shape, self.reference)
            return guard(accepted, code, casts=needs_cast(accepted, shape))
