"""What a measurement is: the state of every sample, what it cost, and everything that identifies it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.layers.drift import LayerPair
from robustbench_wb.records.credibility import Credibility
from robustbench_wb.records.names import Metric, Slot, label, slot
from robustbench_wb.spec import Spec, digest
from robustbench_wb.stressors.protocol import ProtocolName

SCHEMA_VERSION = 2
"""Version of the record's fields and of the key. Raise it when either changes; a golden test holds every version."""


class State(IntEnum):
    """What became of one sample. An error is never counted as robust."""

    ROBUST = 0
    """Classified correctly under the stressor."""
    BROKEN = 1
    """Correct when clean, wrong under the stressor."""
    WRONG = 2
    """Wrong already when clean. An adversarial stressor does not try it; under any other it is still wrong."""
    ERRORED = 3
    """Could not be judged (logits not finite, an exception)."""
    NOT_RUN = 4
    """Left out: the cell stopped before this sample."""
    SCORED = 5
    """Judged by its loss alone, in language modelling: there is no right or wrong."""


class Identity(Spec):
    """Everything that can change the number. Batch size, worker count, progress style and log level cannot, and
    are left out by name; so are the names of suite, variant and task, whose bytes are digested instead."""

    signature: str
    """The stressor's printed form, with its strength and all numbers."""
    ladder: tuple[str, ...]
    """The strengths that the outcome depends on, ascending. Only lower ones: attacked before on the same samples, and
    what they broke is not attacked again. This one among them: all were answered together, by bisection."""
    stressor_code: str
    """Digest of the stressor's source and all it imports, and of the weights and the code of its surrogate."""
    data: str
    """Digest of the bytes of the evaluated split."""
    samples: str
    """Digest of the ids of the evaluated samples, in order."""
    weights: str
    """Digest of every parameter and buffer of the subject."""
    model_code: str
    """Digest of the source of the subject's architecture and all it imports, with its spec."""
    numerics: str
    """Device class, number format and torch release, like ``cpu;float32;torch-2.13``."""
    seed: int
    """The run seed: noise is a function of it, the signature, the sample id and the step."""
    schema_version: int = SCHEMA_VERSION

    @property
    def key(self) -> str:
        """The address of the record: SHA-256 of the canonical JSON form."""
        return digest(self)


def differing_fields(old: Identity, new: Identity) -> list[tuple[str, object, object]]:
    """The fields that differ, with both values."""
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in Identity.model_fields]
    return [(name, before, after) for name, before, after in pairs if before != after]


class Cell(Spec):
    """The names of one measurement: where its row stands in a table."""

    suite: str
    suite_version: int
    scale: str
    task: str
    """The data as it really was, like ``digits`` or ``cifar10-jpeg75``."""
    variant: str
    size: str
    recipe: str
    stressor: str
    """Name without numbers, like ``pgd-linf``; with its surrogate where it has one: ``transfer-linf:vit``."""
    strength: str
    """Exact text, like ``8/255``; empty for a stressor without strength."""
    seed: int
    metric: Metric = "accuracy"
    """A fact of the task, so that a cell that failed has it too."""
    protocol: ProtocolName = "sound"
    """A fact of the stressor."""
    classes: int = 0
    """Answers there are; a fact of the task, as is the next one."""
    side: int = 0
    """Shorter side of the images in pixels; 0 where there are none."""
    family: str = ""
    """Cells of one subject that are corrected together in a comparison, as the suite declares it."""

    @property
    def label(self) -> str:
        """``digits smoke adversarial: vit-nano standard seed 0, pgd-linf@8/255``."""
        return label(self)

    @property
    def slot(self) -> Slot:
        """Where its row stands in a table."""
        return slot(self)


@dataclass(frozen=True, eq=False)
class Record:
    """The immutable result of a cell. All arrays have one entry per evaluated sample, in the order of ``ids``."""

    identity: Identity
    ids: NDArray[np.int32]
    """Row number of each sample in its split."""
    states: NDArray[np.int8]
    """Values of :class:`State`."""
    losses: NDArray[np.float32]
    """Cross-entropy in nats of the true label at the judged input, in language modelling the mean over the predicted
    tokens of the sample, of which every sample has as many; NaN where not judged."""
    forwards: NDArray[np.int32]
    """Forward passes spent on each sample in this cell alone (not on lower strengths), verdict included."""
    backwards: NDArray[np.int32]
    """Input gradients spent on each sample in this cell alone."""
    wobble: int
    """Samples whose verdict differed between the search and the independent second pass (another batch)."""
    seconds: float
    """Wall time of this cell. Not part of its identity."""
    evidence: Mapping[str, float] = field(default_factory=dict)
    """Counts made during the search, which tell how far the outcome can be believed. Not part of its identity."""
    perturbed: str = ""
    """SHA-256 of the perturbed samples, where all subjects are given the same ones; else empty."""

    @property
    def key(self) -> str:
        """Content address, see :attr:`Identity.key`."""
        return self.identity.key

    @property
    def token_losses(self) -> NDArray[np.float64]:
        """The losses, such that their mean is that of the counted tokens: where not all are, :attr:`losses` has 0 for
        the others, and the share of the counted ones over all samples is divided out here."""
        share = self.evidence.get("counted", 1) / self.evidence.get("predicted", 1)
        return self.losses.astype(np.float64) / share if share else np.full(len(self.losses), np.nan)

    def count(self, state: State) -> int:
        """Number of samples in ``state``."""
        return int(np.count_nonzero(self.states == state))


@dataclass(frozen=True)
class SubjectCard:
    """What a table says about the thing under test."""

    parameters: int
    """Number of trainable scalars."""
    weights: str
    """Weights digest, empty when the subject could not be built."""
    train_seconds: float
    """Wall time of its training, from the checkpoint's card; 0 when it came from elsewhere."""
    trained: bool
    """True when this run trained it, false when it was reused or came from elsewhere."""
    contaminated: tuple[int, int] = (0, 0)
    """Of a contaminated training split: what was contaminated, and what there is. Else zeros."""
    flops: int = 0
    """Of one answer; see :class:`robustbench_wb.engine.footprint.Footprint`, as for the next one. 0: not known."""
    peak_memory: int = 0


@dataclass(frozen=True)
class Measurement:
    """One cell of a finished run: a record, or the reason why there is none."""

    cell: Cell
    identity: Identity | None
    """None when the subject could not be built."""
    subject: SubjectCard
    record: Record | None
    """Present when samples were judged; it may hold errored samples. None: the cell failed as a whole."""
    reused: bool
    """True when the record was found in the store."""
    samples: int
    """Number of samples the cell asked for."""
    error: str = ""
    """One line; not empty when the cell failed or some of its samples errored."""
    layers: LayerPair | None = None
    """The layers of the samples that the cell tried, beside the clean ones; None when they were not measured."""
    credibility: Credibility | None = None
    """How far an adversary's outcome may be believed; None for all others."""
