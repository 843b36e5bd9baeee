"""Row of a score table: what was evaluated, the result, and everything that identifies it."""

from collections.abc import Iterable, Mapping
from math import isnan
from typing import Any, Final, Literal, NamedTuple, Self

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from robustbench_wb.errors import StoreError
from robustbench_wb.records.names import Metric, Slot, cell_name, slot
from robustbench_wb.spec import Spec, digest
from robustbench_wb.stressors.protocol import ProtocolName

SCHEMA_VERSION: Final = 12
"""Schema number of the columns. It rises with every new column, because a reader that ignores a column can misread the
others: rows with different ``protocol`` must not be compared. docs/formats.md lists what each number added, and a test
reads a table of every number."""


class PanelKey(NamedTuple):
    """Key of the rows that share a table or ranking: only rows with equal values are compared with each other."""

    task: str
    scale: str
    suite: str
    suite_version: int
    metric: Metric
    protocol: ProtocolName
    n: int


_ACCURACY: tuple[str, ...] = ("accuracy", "low", "high", "accuracy_high")
LAYER_MEANS: tuple[str, ...] = ("coding_rate", "sparsity", "entropy", "similarity")
"""Layer measures with a column of their own."""
_PERPLEXITY: tuple[str, ...] = ("perplexity_low", "perplexity", "perplexity_high")
_STORED_IF_FAILED: Final[Mapping[str, Mapping[str, float]]] = {
    "accuracy": {"accuracy": 0.0, "low": 0.0, "high": 1.0, "accuracy_high": 1.0},
    "perplexity": {"perplexity_low": 1.0},
}
"""Numbers that tables hold for a failed evaluation, by metric: bounds that hold for any outcome."""

PIXEL_SCORES: tuple[str, ...] = ("miou", "miou_low", "miou_high", "pixel_accuracy")
"""Columns that follow from the pixel counts of a record."""
CALIBRATION_COLUMNS: tuple[str, ...] = ("ece", "ece_low", "ece_high", "brier", "brier_low", "brier_high")
"""Columns that follow from the probabilities in a record."""
DETECTION_COLUMNS: tuple[str, ...] = ("auroc", "auroc_low", "auroc_high")
"""Columns that follow from the largest logits in a record."""
TEXT_COLUMNS: tuple[str, ...] = (
    *("text_similarity", "text_similarity_low", "text_similarity_high"),
    *("perplexity_ratio", "perplexity_ratio_low", "perplexity_ratio_high"),
)
"""Columns that follow from the measures of texts in a record."""
OUTPUT_COLUMNS: tuple[str, ...] = (*PIXEL_SCORES, *CALIBRATION_COLUMNS, *DETECTION_COLUMNS, *TEXT_COLUMNS)
"""Columns that follow from the optional arrays of a record."""
_OPTIONAL: tuple[str, ...] = ("realised", "obeyed", "shortcut_accuracy", "shortcut_p", "cut", "empty")


class ScoreRow(Spec):
    """Result of one evaluation in a finished run. Every field is a scalar, and no number is NaN or infinite.

    Columns of the other metric are None, and so are those of the metric if the evaluation failed. New fields are added
    at the end with a default, because earlier tables lack them.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    suite: str
    """Name of the suite."""
    suite_version: int
    scale: str
    """Scale of the suite: ``smoke``, ``small``, ``full`` or one of a custom suite."""
    task: str
    """Name of the data as loaded, such as ``digits`` or ``cifar10-jpeg75``."""
    variant: str
    """Name of the model architecture."""
    size: str
    """Size of the architecture, such as ``nano``."""
    recipe: str
    """Name of the training configuration."""
    stressor: str
    """Name without parameters, such as ``pgd-linf``, or with its surrogate model: ``transfer-linf:vit``."""
    strength: str
    """Exact strength as text, such as ``8/255``; empty for a stressor without strength."""
    signature: str
    """Printed form of the stressor with all parameters."""
    seed: int
    """Seed of the run."""
    n: int = Field(ge=0)
    """Number of requested samples."""
    accuracy: float | None = Field(ge=0, le=1)
    """Share of samples classified correctly under the stressor; errored and not-run samples count as broken.

    None, like its bounds, if the evaluation failed."""
    low: float | None = Field(ge=0, le=1)
    """Lower end of the 95 % Wilson interval of ``accuracy``."""
    high: float | None = Field(ge=0, le=1)
    """Upper end of the 95 % Wilson interval of ``accuracy_high``."""
    accuracy_high: float | None = Field(ge=0, le=1)
    """Accuracy if errored and not-run samples count as robust; equal to ``accuracy`` without such samples."""
    robust: int = Field(ge=0)
    """Samples classified correctly under the stressor."""
    broken: int = Field(ge=0)
    """Samples classified correctly without the stressor and wrongly under it."""
    wrong: int = Field(ge=0)
    """Samples misclassified without the stressor; attacks do not try them."""
    errored: int = Field(ge=0)
    """Samples whose evaluation failed."""
    not_run: int = Field(ge=0)
    """Samples that were not evaluated."""
    status: Literal["ok", "incomplete", "error"]
    """``error``: no sample was evaluated. ``incomplete``: some samples were not evaluated, or an error occurred."""
    error: str
    """Error message in one line; empty without error."""
    wobble: int
    """Samples whose state differed between the search and the confirming second pass."""
    forwards: float
    """Mean number of forward passes per sample."""
    backwards: float
    """Mean number of input gradients per sample."""
    seconds: float
    """Wall time of the evaluation in seconds."""
    parameters: int
    """Trainable parameters of the model."""
    train_seconds: float
    """Wall time of training in seconds."""
    weights: str
    """Digest of the weights of the model; empty, like the digests below, if the model could not be built."""
    data: str
    """Digest of the evaluated split."""
    samples: str
    """Digest of the ids of the evaluated samples."""
    stressor_code: str
    """Digest of the code of the stressor."""
    model_code: str
    """Digest of the code of the model."""
    numerics: str
    """Device type, number format and torch release, such as ``cpu;float32;torch-2.13``."""
    ladder: str
    """Strengths that the outcome depends on, such as those attacked before on the same samples, joined by a blank."""
    key: str
    """Key of the record; empty without identity."""
    metric: Metric = "accuracy"
    perplexity: float | None = Field(default=None, ge=1)
    """Exponential of the mean loss (nats per predicted token); None if a sample is missing, because it is unbounded."""
    perplexity_low: float | None = Field(default=None, ge=1)
    """Lower end of the 95 % t interval; missing samples count with a loss of 0."""
    perplexity_high: float | None = Field(default=None, ge=1)
    """Upper end of the 95 % t interval; None if it is unbounded, because of missing samples or a single sample."""
    coding_rate: float | None = None
    """Coding rate R^c of the inputs that attention mixes (nats), mean over layers and attempted samples.

    None, like the three measures below, if layers were not measured or the measure is undefined for the model."""
    sparsity: float | None = Field(default=None, ge=0, le=1)
    """Share of the code of the layers that is not exactly 0, mean over layers and attempted samples."""
    entropy: float | None = Field(default=None, ge=0)
    """Entropy of attention (nats), mean over layers and attempted samples."""
    similarity: float | None = None
    """Cosine similarity of different tokens, mean over layers and attempted samples."""
    layers: str = ""
    """JSON with ``n``, and for each measure lists with one entry per layer and their drift; empty if not measured."""
    protocol: ProtocolName = "sound"
    """Rules of the stressor; ``as-published`` are those of a group of papers, including their defects."""

    grade: Literal["", "A", "B", "C", "F"] = ""
    """Credibility of the result, see docs/credibility.md; empty if it was not checked."""
    checks: str = ""
    """JSON list of the checks behind the grade, each with value, limit, samples and reason."""
    realised: float | None = Field(default=None, ge=0, le=1)
    """Share of the units (pixels, words, training samples) that were actually perturbed; None if not counted."""
    obeyed: float | None = Field(default=None, ge=0, le=1)
    """Share of samples of other classes that a planted trigger makes the model assign to its target class.

    None without a trigger."""
    perturbed: str = ""
    """Digest of the perturbed samples if all models get the same ones; else empty."""
    classes: int = Field(default=0, ge=0)
    """Number of classes, in language modelling of tokens; 0 in rows of an earlier release."""
    side: int = Field(default=0, ge=0)
    """Shorter side of the images in pixels; 0 without images, and in rows of an earlier release."""
    shortcut: str = ""
    """Best shortcut baseline of the task in the same evaluation; empty if there is none, and for shortcuts."""
    shortcut_accuracy: float | None = Field(default=None, ge=0, le=1)
    """Accuracy of the best shortcut baseline."""
    shortcut_p: float | None = Field(default=None, ge=0, le=1)
    """One-sided exact McNemar p-value of the hypothesis that the model does not beat the best shortcut baseline."""
    cut: float | None = Field(default=None, ge=0, le=1)
    """Share of the texts that were cut for the model; None if the inputs are not texts."""
    empty: float | None = Field(default=None, ge=0, le=1)
    """Share of the texts without any token; None if the inputs are not texts."""
    family: str = ""
    """Family for multiple-testing correction among the evaluations of one model; empty is the default family."""
    flops: int = Field(default=0, ge=0)
    """Floating-point operations of a forward pass of one sample: matrix products, convolutions and attention.

    A multiply-add counts 2. 0 if unknown."""
    peak_memory: int = Field(default=0, ge=0)
    """Peak memory in bytes of a forward pass and input gradient of one sample, weights included; 0 if unknown."""
    checksum: str = ""
    """SHA-256 of all other columns, see ``computed_checksum``; empty in rows of an earlier release."""
    planned: int = Field(default=0, ge=0)
    """Number of samples that the evaluation would have had if a decision had not stopped it; 0 if none did."""
    stopped: str = ""
    """Decision that stopped the evaluation after ``n`` of ``planned`` samples; empty if none did."""
    miou: float | None = Field(default=None, ge=0, le=1)
    """Mean over classes of intersection over union, pixels of all images together; None without labels of pixels, and
    if an image is missing."""
    miou_low: float | None = Field(default=None, ge=0, le=1)
    """Lower end of the 95 % bootstrap interval of ``miou`` over images."""
    miou_high: float | None = Field(default=None, ge=0, le=1)
    """Upper end of the 95 % bootstrap interval of ``miou`` over images."""
    pixel_accuracy: float | None = Field(default=None, ge=0, le=1)
    """Share of the pixels of all images that have their label predicted; None like ``miou``."""
    least_iou: float | None = Field(default=None, ge=0, le=1)
    """Mean IoU from which an image counts as correct in ``accuracy``; None without labels of pixels."""
    ece: float | None = Field(default=None, ge=0, le=1)
    """Expected calibration error over 15 bins of equal width; None unless the suite asks for calibration, under
    attacks, and if a sample is missing."""
    ece_low: float | None = Field(default=None, ge=0, le=1)
    """Lower end of the 95 % bootstrap interval of ``ece`` over samples."""
    ece_high: float | None = Field(default=None, ge=0, le=1)
    """Upper end of the 95 % bootstrap interval of ``ece`` over samples."""
    brier: float | None = Field(default=None, ge=0, le=2)
    """Mean Brier score, the sum over all classes of the squared error of the probability; None like ``ece``."""
    brier_low: float | None = Field(default=None, ge=0, le=2)
    """Lower end of the 95 % bootstrap interval of ``brier`` over samples."""
    brier_high: float | None = Field(default=None, ge=0, le=2)
    """Upper end of the 95 % bootstrap interval of ``brier`` over samples."""
    auroc: float | None = Field(default=None, ge=0, le=1)
    """Area under the ROC curve by which the largest logit tells samples from out-of-distribution images; None under
    other stressors, and if a sample is missing."""
    auroc_low: float | None = Field(default=None, ge=0, le=1)
    """Lower end of the 95 % interval of ``auroc`` over pairs of a sample and its out-of-distribution image."""
    auroc_high: float | None = Field(default=None, ge=0, le=1)
    """Upper end of the 95 % interval of ``auroc``."""
    constraint: str = ""
    """Constraint on the meaning of perturbed texts, like ``cosine >= 9/10 by hf:NAME``, or ``unconstrained``; empty for
    stressors that are no word attacks, and in rows of an earlier release."""
    text_similarity: float | None = Field(default=None, ge=-1, le=1)
    """Mean cosine similarity of the texts that this evaluation broke to the unperturbed ones; None without a sentence
    encoder, and if no sample broke or one is missing."""
    text_similarity_low: float | None = Field(default=None, ge=-1, le=1)
    """Lower end of the 95 % t interval of ``text_similarity`` over samples."""
    text_similarity_high: float | None = Field(default=None, ge=-1, le=1)
    """Upper end of the 95 % t interval of ``text_similarity`` over samples."""
    perplexity_ratio: float | None = Field(default=None, ge=0)
    """Perplexity of the texts that this evaluation broke under a language model, as a multiple of that of the
    unperturbed ones, geometric mean; None without a language model, and if no sample broke or one is missing."""
    perplexity_ratio_low: float | None = Field(default=None, ge=0)
    """Lower end of the 95 % t interval of ``perplexity_ratio``, of its logarithm over samples."""
    perplexity_ratio_high: float | None = Field(default=None, ge=0)
    """Upper end of the 95 % t interval of ``perplexity_ratio``; None if a single sample broke."""

    @field_validator(*_ACCURACY, *_PERPLEXITY, *LAYER_MEANS, *_OPTIONAL, "least_iou", *OUTPUT_COLUMNS, mode="before")
    @classmethod
    def _absent(cls, value: object) -> object:
        """Convert the None of CSV files (empty text) and data frames (NaN)."""
        return None if value == "" or (isinstance(value, float) and isnan(value)) else value

    @model_validator(mode="before")
    @classmethod
    def _without_bounds(cls, values: object) -> object:
        """Leave out the bounds that tables hold for a failed evaluation; another number was edited, and is kept."""
        if not isinstance(values, Mapping) or values.get("status") != "error":
            return values
        bounds = _STORED_IF_FAILED.get(str(values.get("metric") or "accuracy"), {})
        return {**values, **{name: None for name, bound in bounds.items() if _is_number(values.get(name), bound)}}

    @model_validator(mode="after")
    def _one_metric(self) -> Self:
        """Check that exactly the columns of the metric are set; the ends of an interval may be missing."""
        own, foreign = (_ACCURACY, _PERPLEXITY) if self.metric == "accuracy" else (_PERPLEXITY, _ACCURACY)
        needed = own if self.metric == "accuracy" else own[: 2 if self.status == "ok" else 1]
        needed = () if self.status == "error" else needed
        extra = [name for name in foreign if getattr(self, name) is not None]
        missing = [name for name in needed if getattr(self, name) is None]
        if extra or missing:
            raise ValueError(f"a row of {self.metric} must not have {extra}, and lacks {missing}")
        return self

    @property
    def computed_checksum(self) -> str:
        """SHA-256 (hex) of the canonical JSON of all stored columns but ``checksum`` that differ from their default.

        Columns that a later release adds have a default, and so do not change an earlier checksum.
        """
        return digest({**self.model_dump(exclude={"checksum"}, exclude_defaults=True), **self._bounds})

    @property
    def stored(self) -> dict[str, Any]:
        """All columns as tables hold them."""
        return {**self.model_dump(), **self._bounds}

    @property
    def _bounds(self) -> Mapping[str, float]:
        bounds = _STORED_IF_FAILED[self.metric] if self.status == "error" else {}
        return {name: bound for name, bound in bounds.items() if getattr(self, name) is None}

    def with_checksum(self) -> Self:
        """Return a copy of the row with its checksum."""
        return self.model_copy(update={"checksum": self.computed_checksum})

    @property
    def is_stopped(self) -> bool:
        """Whether a decision stopped the evaluation, so that its number of samples depends on their outcomes."""
        return self.planned > 0

    @property
    def slot(self) -> Slot:
        """Slot of the row, which is unique in a table."""
        return slot(self)

    @property
    def cell(self) -> str:
        """Name of stressor and strength such as ``pgd-linf@8/255``; the name alone for a stressor without strength."""
        return cell_name(self.stressor, self.strength)

    @property
    def panel(self) -> PanelKey:
        """Key of the rows with which this one is compared in a table or ranking."""
        return PanelKey(
            task=self.task,
            scale=self.scale,
            suite=self.suite,
            suite_version=self.suite_version,
            metric=self.metric,
            protocol=self.protocol,
            n=self.planned or self.n,
        )

    @property
    def subject(self) -> tuple[str, ...]:
        """Evaluated model: variant, size, recipe and seed."""
        return (self.variant, self.size, self.recipe, str(self.seed))


def _is_number(value: object, number: float) -> bool:
    """Whether a value is a number, as such or as text of a CSV file."""
    try:
        return isinstance(value, str | int | float) and float(value) == number
    except ValueError:
        return False


def read_rows(entries: Iterable[object], what: str) -> list[ScoreRow]:
    """Convert mappings to rows. Columns that an earlier release did not have take their defaults.

    Args:
        entries: one mapping of column to value for each row.
        what: description of the table for error messages, in the plural.

    Raises:
        StoreError: an entry is not a row; the message names ``what``, the columns, and the number of the row from 1.
    """
    rows = []
    for number, entry in enumerate(entries, 1):
        try:
            rows.append(ScoreRow.model_validate(entry))
        except ValidationError as error:
            fields = sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
            named, why = ", ".join(fields), error.errors()[0]["msg"]
            if all(problem["type"] == "extra_forbidden" for problem in error.errors()):
                raise StoreError(f"{what} have columns of a newer release ({named}); install that one") from error
            raise StoreError(f"{what} do not fit this release ({named or 'row'}): row {number}: {why}") from error
    return rows
