"""Shapes of model inputs and outputs, as the task defines them. This module does not import torch."""

from typing import Literal

from pydantic import Field

from robustbench_wb.spec import Spec

PAD = 0
"""Token id of padding. Texts are padded on the right, and no real token has this id."""

PositionMode = Literal["added", "separate", "none"]
"""How an attention mechanism receives token positions.

``added``: learned positions are added to the token stream once, at the input. ``separate``: a table of learned
positions is passed to every layer. ``none``: there are no learned positions; the mechanism uses token coordinates only.
"""


class ImageShape(Spec):
    """Image tasks: images of channels x height x width pixels, square patches of side ``patch``, ``classes`` labels."""

    channels: int = Field(gt=0)
    height: int = Field(gt=0)
    width: int = Field(gt=0)
    classes: int = Field(gt=0)
    patch: int = Field(gt=0)

    @property
    def patches(self) -> int:
        """Number of whole patches in one image."""
        return (self.height // self.patch) * (self.width // self.patch)

    @property
    def patch_values(self) -> int:
        """Number of values in one patch."""
        return self.channels * self.patch * self.patch

    @property
    def causal(self) -> bool:
        """Whether attention is causal; always False for images."""
        return False


Pool = Literal["cls", "mean"]
"""Pooling of a sequence classifier: the class token alone, or the mean over all tokens except padding."""


class TextShape(Spec):
    """Text tasks: sequences of at most ``length`` token ids below ``vocabulary``; id 0 (``PAD``) is padding.

    With ``causal`` (language modelling) every token predicts the next one, and ``classes`` is the vocabulary. Otherwise
    the first token of every sequence is the class token, and the label is one of ``classes``. With ``documents=2`` a
    row of ids holds two documents, each padded to ``length``, and the label belongs to the pair.
    """

    vocabulary: int = Field(gt=1)
    length: int = Field(gt=0)
    classes: int = Field(gt=0)
    causal: bool = False
    pool: Pool | None = None
    """Pooling that the task prescribes; None leaves the choice to the variant."""
    documents: Literal[1, 2] = 1

    @property
    def prefix_tokens(self) -> int:
        """Number of leading tokens (the class token) that are not part of the text and have no position in it."""
        return 0 if self.causal else 1


Shape = ImageShape | TextShape
