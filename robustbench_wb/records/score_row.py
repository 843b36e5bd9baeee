"""One line of a score table: what was measured, how it came out, and everything that identifies it."""

from collections.abc import Iterable
from math import isnan
from typing import Any, Final, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from robustbench_wb.errors import StoreError
from robustbench_wb.records.names import Metric, Slot, cell_name, slot
from robustbench_wb.spec import Spec, digest
from robustbench_wb.stressors.protocol import ProtocolName

SCHEMA_VERSION: Final = 9
"""Number of the set of columns. It rises with every new one, because who ignored it could misread the others: a row of
another ``protocol`` is not to be compared. A test holds a table of every number; docs/formats.md says what
each one added."""

Panel = tuple[str, str, str, int, Metric, ProtocolName]
"""Task, scale, suite, its version, metric and protocol: only rows that share them stand in one table or ranking."""

_ACCURACY: tuple[str, ...] = ("accuracy", "low", "high", "accuracy_high")
LAYER_MEANS: tuple[str, ...] = ("coding_rate", "sparsity", "entropy", "similarity")
"""The measures of layers that have a column of their own."""
_PERPLEXITY: tuple[str, ...] = ("perplexity_low", "perplexity", "perplexity_high")

_OPTIONAL: tuple[str, ...] = ("realised", "obeyed", "shortcut_accuracy", "shortcut_p", "cut", "empty")


class ScoreRow(Spec):
    """One cell of one finished run. Every field is a plain scalar; no number is NaN or infinite.

    The numbers of the other metric are None. New fields go to the end and have a default: earlier tables lack them.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    suite: str
    suite_version: int
    scale: str
    task: str
    variant: str
    size: str
    recipe: str
    stressor: str
    """Name without numbers, like ``pgd-linf``; with its surrogate where it has one: ``transfer-linf:vit``."""
    strength: str
    """Exact text, like ``8/255``; empty for a stressor without strength."""
    signature: str
    """The stressor's printed form, with all its numbers."""
    seed: int
    n: int = Field(ge=0)
    """Samples asked for."""
    accuracy: float | None = Field(ge=0, le=1)
    """Share of samples classified correctly under the stressor; errored and not-run ones count as broken."""
    low: float | None = Field(ge=0, le=1)
    """Low end of the 95 % Wilson interval of ``accuracy``."""
    high: float | None = Field(ge=0, le=1)
    """High end of the 95 % Wilson interval of ``accuracy_high``."""
    accuracy_high: float | None = Field(ge=0, le=1)
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
    metric: Metric = "accuracy"
    perplexity: float | None = Field(default=None, ge=1)
    """Exponential of the mean loss (nats per predicted token). None when a sample is missing: it could be anything."""
    perplexity_low: float | None = Field(default=None, ge=1)
    """Low end of the 95 % t interval; with missing samples, of the interval as if those had a loss of 0."""
    perplexity_high: float | None = Field(default=None, ge=1)
    """High end of the 95 % t interval. None: unbounded, because samples are missing or there is one alone."""
    coding_rate: float | None = None
    """R^c of what attention mixes (nats), mean over layers and the samples that the cell tried; so the next three.

    None where layers were not measured, or the measure is not defined for the subject."""
    sparsity: float | None = Field(default=None, ge=0, le=1)
    """Share of the layers' code that is not exactly 0."""
    entropy: float | None = Field(default=None, ge=0)
    """Entropy of attention (nats)."""
    similarity: float | None = None
    """Mean cosine of different tokens."""
    layers: str = ""
    """JSON: ``n``, and per measure lists with one entry per layer, and their drift. Empty when not measured."""
    protocol: ProtocolName = "sound"
    """Under which rules the stressor works; ``as-published`` ones are those of a group of papers, defects included."""

    grade: Literal["", "A", "B", "C", "F"] = ""
    """How far the number may be believed, see docs/credibility.md; empty where nobody looked for errors."""
    checks: str = ""
    """JSON: a list of the checks behind the grade, each with value, limit, samples and reason."""
    realised: float | None = Field(default=None, ge=0, le=1)
    """Share of the units (pixels, words, training samples) that was really perturbed; None where nobody counts."""
    obeyed: float | None = Field(default=None, ge=0, le=1)
    """Share of the samples of other classes that a planted trigger turns into its target; None without a trigger."""
    perturbed: str = ""
    """Digest of the perturbed samples, where all subjects are given the same ones; else empty."""
    classes: int = Field(default=0, ge=0)
    """Answers there are, in language modelling the vocabulary; 0 in rows of an earlier harness. So the next one."""
    side: int = Field(default=0, ge=0)
    """Shorter side of the images in pixels; 0 where there are none."""
    shortcut: str = ""
    """The best shortcut of the task in the same cell; empty where it has none, and for shortcuts themselves."""
    shortcut_accuracy: float | None = Field(default=None, ge=0, le=1)
    """Its accuracy."""
    shortcut_p: float | None = Field(default=None, ge=0, le=1)
    """One-sided exact McNemar p-value: how often chance alone would make the subject so much better than it."""
    cut: float | None = Field(default=None, ge=0, le=1)
    """Share of the texts of which the subject saw a part only; None for what is no text. So the next one."""
    empty: float | None = Field(default=None, ge=0, le=1)
    """Share of the texts without a single token."""
    family: str = ""
    """Cells of one subject that are corrected together in a comparison; empty: all that name none."""
    flops: int = Field(default=0, ge=0)
    """Floating-point operations of one forward pass of one sample: matrix products, convolutions and attention, 2 per
    multiply-add. 0: not known; so the next one."""
    peak_memory: int = Field(default=0, ge=0)
    """Bytes of all tensors alive at the peak of one forward pass and input gradient of one sample, weights included."""
    checksum: str = ""
    """SHA-256 of all other columns, see :attr:`fingerprint`; empty in rows of an earlier harness."""

    @field_validator(*_ACCURACY, *_PERPLEXITY, *LAYER_MEANS, *_OPTIONAL, mode="before")
    @classmethod
    def _absent(cls, value: object) -> object:
        """None as CSV files (empty) and data frames (NaN) write it."""
        return None if value == "" or (isinstance(value, float) and isnan(value)) else value

    @model_validator(mode="after")
    def _one_metric(self) -> Self:
        """Exactly the numbers of the row's own metric are there; ends of an interval may be open."""
        own, foreign = (_ACCURACY, _PERPLEXITY) if self.metric == "accuracy" else (_PERPLEXITY, _ACCURACY)
        needed = own if self.metric == "accuracy" else own[: 2 if self.status == "ok" else 1]
        extra = [name for name in foreign if getattr(self, name) is not None]
        missing = [name for name in needed if getattr(self, name) is None]
        if extra or missing:
            raise ValueError(f"a row of {self.metric} has {extra or 'nothing'} too much and lacks {missing}")
        return self

    @property
    def fingerprint(self) -> str:
        """What the checksum must be: SHA-256 (hex) of the canonical JSON of all other columns that are not at their
        default. Columns that a later harness adds have one, so that they change no earlier checksum."""
        return digest(self.model_dump(exclude={"checksum"}, exclude_defaults=True))

    def sealed(self) -> Self:
        """The row with its checksum."""
        return self.model_copy(update={"checksum": self.fingerprint})

    @property
    def slot(self) -> Slot:
        """What the row stands for in its table."""
        return slot(self)

    @property
    def cell(self) -> str:
        """``pgd-linf@8/255``; the bare name for a stressor without strength."""
        return cell_name(self.stressor, self.strength)

    @property
    def panel(self) -> Panel:
        """The rows that it may stand beside in one table."""
        return (self.task, self.scale, self.suite, self.suite_version, self.metric, self.protocol)

    @property
    def subject(self) -> tuple[str, ...]:
        """What was tested: variant, size, recipe and seed."""
        return (self.variant, self.size, self.recipe, str(self.seed))


def read_rows(entries: Iterable[Any], what: str) -> list[ScoreRow]:
    """The rows that some mappings hold; columns that an earlier harness did not have take their defaults.

    Raises:
        StoreError: one does not fit; the message names ``what``, the columns, and the row by its number from 1.
    """
    rows = []
    for number, entry in enumerate(entries, 1):
        try:
            rows.append(ScoreRow.model_validate(entry))
        except ValidationError as error:
            fields = sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
            named, why = ", ".join(fields), error.errors()[0]["msg"]
            if all(problem["type"] == "extra_forbidden" for problem in error.errors()):
                raise StoreError(f"{what} have columns of a newer harness ({named}); install that one") from error
            raise StoreError(f"{what} do not fit this harness ({named or 'row'}): row {number}: {why}") from error
    return rows
