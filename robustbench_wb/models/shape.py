"""What a task asks of a model: the shape of its inputs and of its answers. Nothing here imports torch."""

from typing import Literal

from pydantic import Field

from robustbench_wb.spec import Spec

PAD = 0
"""Token id of padding, which stands on the right. No real token has it."""

Position = Literal["added", "separate", "none"]
"""Where an attention mechanism finds positions: ``added`` to the stream once, at the input; in a ``separate`` table,
handed to every layer; ``none`` learned at all: it has only the coordinates of the tokens."""


class ImageShape(Spec):
    """Images of ``channels`` x ``height`` x ``width`` pixels in squares of ``patch``; ``classes`` labels."""

    channels: int = Field(gt=0)
    height: int = Field(gt=0)
    width: int = Field(gt=0)
    classes: int = Field(gt=0)
    patch: int = Field(gt=0)

    @property
    def patches(self) -> int:
        """How many whole patches fit into one image."""
        return (self.height // self.patch) * (self.width // self.patch)

    @property
    def patch_values(self) -> int:
        """How many numbers one patch holds."""
        return self.channels * self.patch * self.patch

    @property
    def causal(self) -> bool:
        """Whether a token may look only backwards: never in an image."""
        return False


Pool = Literal["cls", "mean"]
"""What a classifier of sequences looks at: the class token alone, or the mean over all tokens but padding."""


class TextShape(Spec):
    """Sequences of at most ``length`` token ids below ``vocabulary``; id 0 (:data:`PAD`) is padding.

    With ``causal`` every token predicts the next one and the answers are ids: ``classes`` is the vocabulary. Otherwise
    the first token of every sequence is the class token, and the answer is one of ``classes`` labels. With two
    ``documents`` a row of ids holds both, padded to ``length`` each, and the answer is about the pair.
    """

    vocabulary: int = Field(gt=1)
    length: int = Field(gt=0)
    classes: int = Field(gt=0)
    causal: bool = False
    pool: Pool | None = None
    """What the task asks a classifier to look at; None: whatever the variant does."""
    documents: Literal[1, 2] = 1

    @property
    def unplaced(self) -> int:
        """How many leading tokens are no part of the text, and so have no place in it."""
        return 0 if self.causal else 1


Shape = ImageShape | TextShape
