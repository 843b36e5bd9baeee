"""One line of a score table: what was measured, how it came out, and everything that identifies it."""

from typing import Literal

from pydantic import ConfigDict, Field

from robustbench_wb.spec import Spec

Slot = tuple[str, str, str, str, str, str, str, str, int]
"""What a row stands for: a later measurement of the same slot replaces it."""


class ScoreRow(Spec):
    """One cell of one finished run. Every field is a plain scalar; no number is NaN or infinite."""

    model_config = ConfigDict(allow_inf_nan=False)

    suite: str
    suite_version: int
    scale: str
    task: str
    variant: str
    size: str
    recipe: str
    stressor: str
    """Name without numbers, like ``pgd-linf``."""
    strength: str
    """Exact text, like ``8/255``; empty for a stressor without strength."""
    signature: str
    """The stressor's printed form, with all its numbers."""
    seed: int
    n: int = Field(ge=0)
    """Samples asked for."""
    accuracy: float = Field(ge=0, le=1)
    """Share of samples classified correctly under the stressor; errored and not-run ones count as broken."""
    low: float = Field(ge=0, le=1)
    """Low end of the 95 % Wilson interval of ``accuracy``."""
    high: float = Field(ge=0, le=1)
    """High end of the 95 % Wilson interval of ``accuracy_high``."""
    accuracy_high: float = Field(ge=0, le=1)
    """Equal to ``accuracy``, unless samples errored or were not run: then as if they had all been robust."""
    robust: int = Field(ge=0)
    broken: int = Field(ge=0)
    wrong: int = Field(ge=0)
    """Samples that were wrong already when clean."""
    errored: int = Field(ge=0)
    not_run: int = Field(ge=0)
    status: Literal["ok", "incomplete", "error"]
    """``error``: no sample was judged. ``incomplete``: some were not, or something went wrong."""
    error: str
    """One line; empty when all is well."""
    wobble: int
    """Samples whose verdict differed between the search and the second pass."""
    forwards: float
    """Forward passes, mean per sample."""
    backwards: float
    """Input gradients, mean per sample."""
    seconds: float
    """Wall time of the cell."""
    parameters: int
    """Trainable scalars of the subject."""
    train_seconds: float
    weights: str
    """Digest of the subject's weights; empty when it could not be built. So are the digests below."""
    data: str
    samples: str
    stressor_code: str
    model_code: str
    numerics: str
    ladder: str
    """Strengths attacked before this one on the same samples, joined by a blank."""
    key: str
    """Address of the record; empty when there is no identity."""

    @property
    def slot(self) -> Slot:
        """What the row stands for in its table."""
        names = (self.task, self.variant, self.size, self.recipe, self.scale, self.suite)
        return (*names, self.stressor, self.strength, self.seed)
