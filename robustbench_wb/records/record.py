"""The record of a cell: the state of every sample, its cost, and everything that identifies it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.layers.drift import LayerPair
from robustbench_wb.records.credibility import Credibility
from robustbench_wb.records.names import Metric, Slot, label, slot
from robustbench_wb.spec import Spec, digest
from robustbench_wb.stressors.protocol import ProtocolName

SCHEMA_VERSION = 5
"""Version of the record's fields and of the key. Raise it when either changes; a golden test holds every version."""
SAMPLES_VERSION: Final = 2
"""Version of records without optional arrays, which have the same fields and keys as in version 2."""
PIXELS_VERSION: Final = 3
"""Version of records with pixel counts: earlier releases refuse them, because they would not check the counts."""
OUTPUTS_VERSION: Final = 4
"""Version of records with ``calibration`` or ``max_logits``: earlier releases refuse them, because they would not check
these arrays."""
TEXTS_VERSION: Final = 5
"""Version of records with ``text_measures``: earlier releases refuse them, because they would not check them."""
COUNTED: Final = 3
"""Counts per class of an image: pixels labelled with it, pixels predicted as it, and pixels that are both."""


class State(IntEnum):
    """Outcome of one sample. An error is never counted as robust."""

    ROBUST = 0
    """Classified correctly under the stressor."""
    BROKEN = 1
    """Correct when clean, wrong under the stressor."""
    WRONG = 2
    """Wrong already when clean. An adversarial stressor does not try it; under any other it is still wrong."""
    ERRORED = 3
    """Could not be judged (logits not finite, an exception)."""
    NOT_RUN = 4
    """Not evaluated: the cell stopped before this sample."""
    SCORED = 5
    """Evaluated by its loss alone, in language modelling, where there is no right or wrong."""


class Identity(Spec):
    """Everything that can change the result of a cell.

    Batch size, worker count, progress display and log level cannot, and are left out. The names of suite, variant and
    task are left out as well: digests of their content stand for them.
    """

    signature: str
    """The stressor's printed form, with its strength and all numbers."""
    ladder: tuple[str, ...]
    """Strengths that the outcome depends on, ascending. Lower strengths alone: they were attacked before on the same
    samples, and samples that they broke are not attacked again. The strength of the cell among them: one search by
    bisection answered them all."""
    stressor_code: str
    """Digest of the stressor's source and all it imports, and of the weights and the code of its surrogate.

    An attack on texts adds, after ``+``, a digest of the data with the words that it draws from the training split, and
    an attack that is fitted to the training split a digest of that split."""
    data: str
    """Digest of the bytes of the evaluated split."""
    samples: str
    """Digest of the ids of the evaluated samples, in order."""
    weights: str
    """Digest of every parameter and buffer of the model."""
    model_code: str
    """Digest of the source of the architecture and all it imports, with its spec."""
    numerics: str
    """Device class, number format and torch release, like ``cpu;float32;torch-2.13``."""
    seed: int
    """Seed of the run. Noise is a function of seed, signature, sample id and step."""
    schema_version: int = SAMPLES_VERSION

    @property
    def key(self) -> str:
        """Address of the record: SHA-256 (hex) of the canonical JSON form."""
        return digest(self)


def differing_fields(old: Identity, new: Identity) -> list[tuple[str, object, object]]:
    """Names of the fields that differ, each with its old and its new value."""
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in Identity.model_fields]
    return [(name, before, after) for name, before, after in pairs if before != after]


class Cell(Spec):
    """Names of one evaluation, which place its row in a table."""

    suite: str
    suite_version: int
    scale: str
    task: str
    """Name of the data that was evaluated, like ``digits`` or ``cifar10-jpeg75``."""
    variant: str
    size: str
    recipe: str
    stressor: str
    """Name without numbers, like ``pgd-linf``; a transfer attack with its surrogate: ``transfer-linf:vit``."""
    strength: str
    """Exact text, like ``8/255``; empty for a stressor without strength."""
    seed: int
    metric: Metric = "accuracy"
    """Metric of the task; a cell that failed has it too."""
    protocol: ProtocolName = "sound"
    """Rules under which the stressor works."""
    classes: int = 0
    """Number of classes of the task, in language modelling the size of the vocabulary."""
    side: int = 0
    """Shorter side of the images in pixels; 0 for tasks without images."""
    family: str = ""
    """Name of the cells of one model that a comparison corrects together, as the suite declares it."""
    least_iou: float | None = None
    """Mean IoU from which an image is correct, in segmentation; None for other tasks."""

    @property
    def label(self) -> str:
        """Name of the evaluation, like ``digits smoke adversarial: vit-nano standard seed 0, pgd-linf@8/255``."""
        return label(self)

    @property
    def slot(self) -> Slot:
        """Slot of the row in its table."""
        return slot(self)


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """The immutable result of a cell. All arrays have one entry per evaluated sample, in the order of ``ids``."""

    identity: Identity
    ids: NDArray[np.int32]
    """Row number of each sample in its split."""
    states: NDArray[np.int8]
    """Values of ``State``."""
    losses: NDArray[np.float32]
    """Cross-entropy in nats of the true label at the perturbed input. In language modelling, the mean over predicted
    tokens of the sample; every sample has the same number of them. NaN for samples that were not evaluated."""
    forwards: NDArray[np.int32]
    """Forward passes spent on each sample in this cell alone (not on lower strengths), second pass included."""
    backwards: NDArray[np.int32]
    """Input gradients spent on each sample in this cell alone."""
    wobble: int
    """Samples whose outcome differed between the search and the independent second pass (another batch). Without a
    search, only samples whose class rounding could change are passed twice."""
    seconds: float
    """Wall time of the cell. Not part of the identity."""
    evidence: Mapping[str, float] = field(default_factory=dict)
    """Counts made during the search, by which the credibility of the outcome is graded. Not part of the identity."""
    perturbed: str = ""
    """SHA-256 of the perturbed samples if all models are given the same ones; else empty."""
    pixels: NDArray[np.int32] | None = None
    """Pixel counts of each image and class in segmentation, (N, K, 3): labelled, predicted, both. They are 0 for images
    that were not judged. None for other tasks."""
    calibration: NDArray[np.float32] | None = None
    """Probability of the predicted class and Brier score of each sample, (N, 2), in suites with ``calibration``. NaN
    for samples that were not judged. None elsewhere."""
    max_logits: NDArray[np.float32] | None = None
    """Largest logit of each sample and of its out-of-distribution image, (N, 2), under stressors that replace samples.
    NaN for samples that were not judged. None elsewhere."""

    text_measures: NDArray[np.float32] | None = None
    """Cosine similarity of each perturbed text to the unperturbed one, and by how much the mean loss of its tokens
    under a language model is larger (nats), (N, 2), under word attacks with such models. NaN without a model, and for
    samples that this evaluation did not try: those wrong when clean or broken at a lower strength. None elsewhere."""

    @property
    def key(self) -> str:
        """Content address of the record, see ``Identity.key``."""
        return self.identity.key

    @property
    def token_losses(self) -> NDArray[np.float64]:
        """Losses whose mean is the mean loss of the counted tokens, float64 (N,).

        Tokens that are not counted have a loss of 0 in ``losses``; the share of counted tokens is divided out here.
        """
        share = self.evidence.get("counted", 1) / self.evidence.get("predicted", 1)
        return self.losses.astype(np.float64) / share if share else np.full(len(self.losses), np.nan)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = (self.ids, self.states, self.losses, self.forwards, self.backwards, *self.optional.values())
        return sum(array.nbytes for array in arrays)

    @property
    def optional(self) -> dict[str, Any]:
        """Arrays that only some records have, by the name of their field; the first axis is that of the samples."""
        names = ("pixels", "calibration", "max_logits", "text_measures")
        arrays = {name: getattr(self, name) for name in names}
        return {name: array for name, array in arrays.items() if array is not None}

    def select(self, rows: NDArray[np.int64]) -> "Record":
        """The arrays at some rows, in their order; identity, evidence and seconds stay those of the whole record."""
        return replace(
            self,
            ids=self.ids[rows],
            states=self.states[rows],
            losses=self.losses[rows],
            forwards=self.forwards[rows],
            backwards=self.backwards[rows],
            **{name: array[rows] for name, array in self.optional.items()},
        )

    def count(self, state: State) -> int:
        """Number of samples in ``state``."""
        return int(np.count_nonzero(self.states == state))

    @property
    def problem(self) -> str:
        """One line about samples that could not be judged; empty if there are none."""
        errored = self.count(State.ERRORED)
        return f"{errored} of {len(self.ids)} samples have logits or gradients that are not finite" if errored else ""


@dataclass(frozen=True, kw_only=True)
class SubjectCard:
    """Columns of a table about the evaluated model."""

    parameters: int
    """Number of trainable scalars."""
    weights: str
    """Weights digest, empty when the subject could not be built."""
    train_seconds: float
    """Wall time of the training; 0 for a model that was not trained here."""
    trained: bool
    """True if this run trained the model, false if it was reused or came from elsewhere."""
    contaminated: tuple[int, int] = (0, 0)
    """Units of the training split that were contaminated, and all its units; zeros for a split that is clean."""
    flops: int = 0
    """Floating-point operations of one forward pass of one sample, see
    ``robustbench_wb.engine.footprint.Footprint``; 0: not known."""
    peak_memory: int = 0
    """Bytes at the peak of one forward pass and input gradient of one sample; 0: not known."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One cell of a finished run: its record, or the reason why it has none."""

    cell: Cell
    identity: Identity | None
    """Identity of the record; None if the model could not be built."""
    subject: SubjectCard
    record: Record | None
    """Present if samples were judged; it may hold errored samples. None: the cell failed as a whole."""
    reused: bool
    """True if the record was found in the store."""
    samples: int
    """Number of samples that the cell asked for."""
    error: str = ""
    """One line; not empty if the cell failed or some of its samples errored."""
    layers: LayerPair | None = None
    """Layers of the samples that the cell tried, with the clean ones; None if they were not measured."""
    credibility: Credibility | None = None
    """Grade of an attack; None for all other cells."""
    planned: int = 0
    """Samples that the cell would have had if it had not been stopped; 0: it was not stopped."""
    stopped: str = ""
    """Why the cell was stopped, one line; empty if it was not."""
