"""Stressors: immutable values whose printed form is their signature, with one method that perturbs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from robustbench_wb.errors import UsageError
from robustbench_wb.models.batching import Rows, batches
from robustbench_wb.models.shape import Shape
from robustbench_wb.models.tokenizer import Tokenizer
from robustbench_wb.progress import Advance
from robustbench_wb.registry import suggest_names
from robustbench_wb.source import code_digest
from robustbench_wb.spec import Spec, to_json_types
from robustbench_wb.stressors.protocol import ProtocolName
from robustbench_wb.tasks.lexicon import Lexicon
from robustbench_wb.tasks.task import Split

AttackKind = Literal["control", "single-step", "white-box", "black-box", "ensemble"]
Modality = Literal["image", "text", "labelled", "tokens", "language", "any"]
"""Inputs that a stressor can perturb: images, texts with labels, token ids with labels, token ids of any kind, token
ids of language modelling, or any of these."""


@dataclass(frozen=True, eq=False)
class SampleBatch:
    """Samples to perturb. Adversarial stressors only ever get samples that the subject classifies correctly."""

    model: nn.Module
    """Eval mode, parameters frozen; inputs to logits (B, classes)."""
    inputs: Tensor
    """On the device: images, float32 (N, C, H, W) in [0, 1], or token ids, int64 (N, L), padded with 0 on the right."""
    labels: Tensor
    """int64, (N,), the true labels."""
    ids: Tensor
    """int64, (N,), sample ids: the only thing besides seed and signature that noise depends on."""
    seed: int
    batch: int
    """Largest number of samples in one forward pass. Cannot change a result, only its speed."""
    advance: Advance = field(default=lambda count: None)
    """Told the number of samples that are finished."""
    texts: Sequence[str] = ()
    """The texts that the token ids stand for, whole; empty for images and in language modelling."""
    tokenizer: Tokenizer | None = None
    """What makes token ids of texts; None where there are no texts."""
    lexicon: Lexicon = field(default_factory=lambda: Lexicon(()))
    """The words of the task's training texts."""
    draws: int = 1
    """Forward passes whose mean is one answer: more than 1 for a model that is random."""
    surrogate: nn.Module | None = None
    """The model that a stressor asked to make its images on, eval and frozen like the first; None if it asked for none.
    """
    language: bool = False
    """Whether the answer to an input is its next token: what is perturbed then is an answer, too."""
    split: Split | None = None
    """The whole test split, as the task gives it: sample id i is row i."""
    shape: Shape | None = None
    """What the task asks of a model: how long its inputs may be, and which token ids there are."""
    sizes: NDArray[np.int32] | None = None
    """Tokens that each text has, however many of them the inputs hold, (N,); None where nothing was cut."""

    def rows(self, mask: NDArray[np.bool_]) -> "SampleBatch":
        """The same job for some of its samples."""
        if mask.all():
            return self
        rows = torch.from_numpy(mask).to(self.labels.device)
        texts = [text for text, kept in zip(self.texts, mask, strict=True) if kept] if self.texts else ()
        sizes = None if self.sizes is None else self.sizes[mask]
        some = replace(self, inputs=self.inputs[rows], labels=self.labels[rows], ids=self.ids[rows])
        return replace(some, texts=texts, sizes=sizes)


@dataclass(frozen=True, eq=False)
class PerturbedBatch:
    """Perturbed samples, in the order of the job, and what they cost."""

    inputs: Tensor
    """Same shape, type and device as the job's inputs."""
    forwards: NDArray[np.int32]
    """Forward passes spent on each sample."""
    backwards: NDArray[np.int32]
    """Input gradients spent on each sample."""
    broken: NDArray[np.bool_] | None = None
    """What the search itself believes; None for stressors that do not look at predictions."""
    failed: NDArray[np.bool_] | None = None
    """Samples that could not be searched (logits or gradient not finite). They become errors, never robust."""
    texts: Sequence[str] | None = None
    """The perturbed texts, of which ``inputs`` are the token ids; None where no text was perturbed."""
    vectors: Tensor | None = None
    """Perturbed word vectors (N, L, d), to be judged in place of those that the model looks up for ``inputs``."""
    evidence: Mapping[str, float] = field(default_factory=dict)
    """Numbers about the search that add up over jobs: what credibility is graded by."""
    target: int | None = None
    """The class that a planted trigger asks for; how often it is obeyed is counted then. None: there is no trigger."""
    counted: Tensor | None = None
    """In language modelling, bool (N, L): the tokens whose prediction is scored; None: all but padding."""

    def rows(self, mask: NDArray[np.bool_]) -> "PerturbedBatch":
        """The same for some of the samples; evidence stays that of all."""
        if mask.all():
            return self
        rows = torch.from_numpy(mask).to(self.inputs.device)
        texts = None if self.texts is None else [text for text, kept in zip(self.texts, mask, strict=True) if kept]
        return replace(
            self,
            inputs=self.inputs[rows],
            forwards=self.forwards[mask],
            backwards=self.backwards[mask],
            broken=None if self.broken is None else self.broken[mask],
            failed=None if self.failed is None else self.failed[mask],
            texts=texts,
            vectors=None if self.vectors is None else self.vectors[rows],
            counted=None if self.counted is None else self.counted[rows],
        )


class Stressor(Spec, ABC):
    """Base of all perturbations. Subclasses are frozen specs whose fields are their parameters."""

    name: ClassVar[str]
    axis: ClassVar[str | None] = None
    """Name of the field that is the strength (``eps``), or None."""
    kind: ClassVar[AttackKind | None] = None
    """Kind of attack, used to order attacks by strength; None for stressors that are no attacks."""
    sweeps: ClassVar[bool] = False
    """Whether ``sweep`` answers a whole ladder of strengths in one search."""
    modality: ClassVar[Modality] = "image"
    """Inputs that the stressor can perturb."""
    protocol: ClassVar[ProtocolName] = "sound"
    """Evaluation protocol, fixed by the name, which is part of the signature."""

    @property
    def signature(self) -> str:
        """Printed form: name and every parameter, like ``pgd-linf;eps=8/255;steps=20;step=1/8;restarts=1``."""
        fields = to_json_types(self)
        return ";".join([self.name, *(f"{key}={_text(value)}" for key, value in fields.items() if value is not None)])

    @property
    def label(self) -> str:
        """Name in tables: the signature without parameters."""
        return self.signature.split(";")[0]

    @property
    def surrogate(self) -> str | None:
        """Name of a second model that ``apply`` needs, written like a variant in a request; None if it needs none."""
        return None

    @property
    def threat(self) -> tuple[str, str]:
        """Threat model and strength: rows of one threat model are ordered by strength. Default: name and strength."""
        return (self.name, self.strength)

    @property
    def passes(self) -> tuple[int, int] | None:
        """Forward passes and input gradients spent on a sample that is never broken; None: not known beforehand."""
        return None if self.adversarial() else (0, 0)

    @property
    def strength(self) -> str:
        """Strength as exact text; empty without a strength axis."""
        value = getattr(self, self.axis) if self.axis else None
        return "" if value is None else str(value)

    def at(self, strength: str) -> Self:
        """Build this stressor at another strength.

        Raises:
            UsageError: the stressor has no strength, or the strength is out of range.
        """
        if self.axis is None:
            raise UsageError(f"stressor {self.name!r} has no strength to set to {strength!r}")
        return build_stressor(type(self), {**self.model_dump(), self.axis: strength})

    def code(self) -> str:
        """Digest of the source of this stressor and of all that it imports."""
        return code_digest(type(self).__module__)

    def adversarial(self) -> bool:
        """Whether the stressor looks for errors. If true, it gets only samples that are still correct, strength by
        strength.

        If false, every strength is independent and gets all samples, including those misclassified without a
        perturbation: they may become correct.
        """
        return False

    @abstractmethod
    def apply(self, job: SampleBatch) -> PerturbedBatch:
        """Perturb every sample of the batch.

        Raises:
            MeasurementError: the stressor cannot be applied to this model or task.
        """

    def sweep(self, job: SampleBatch, rungs: Sequence[Self]) -> list[PerturbedBatch]:
        """Perturb every sample at every rung of an ascending ladder; a sample broken at one rung is broken at all
        higher ones.

        Raises:
            MeasurementError: the stressor cannot be applied to this model or task.
        """
        raise NotImplementedError(f"{self.name} does not sweep")

    def check(self, clean: Tensor, stressed: Tensor) -> None:
        """Reject perturbed inputs that violate the stressor's threat model.

        Raises:
            MeasurementError: an image left its ball or the box [0, 1].
        """

    def verify(self, job: SampleBatch, stressed: PerturbedBatch) -> None:
        """Reject perturbed samples that violate the threat model, given the whole batch: texts need more than token
        ids.

        Raises:
            MeasurementError: a sample violates the threat model.
        """
        self.check(job.inputs, stressed.inputs)


S = TypeVar("S", bound=Stressor)


def build_stressor(kind: type[S], numbers: dict[str, object]) -> S:
    """Build a stressor from keyword parameters; errors are one clear line.

    Raises:
        UsageError: a parameter is unknown, missing or out of range.
    """
    try:
        return kind.model_validate(numbers)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            hint = suggest_names(where, list(kind.model_fields)) if kind.model_fields else "it has none"
            raise UsageError(f"stressor {kind.name!r} has no parameter {where!r}; {hint}") from None
        given = f" (got {problem['input']})" if problem["type"] != "missing" else ""
        raise UsageError(f"stressor {kind.name!r}: {where}: {problem['msg']}{given}") from None


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def predict(model: nn.Module, inputs: Tensor, batch: int, draws: int = 1) -> Tensor:
    """Logits (N, classes) in float32, in the order of the inputs, computed in batches, without gradients.

    Logits are means over ``draws`` forward passes.
    """
    return batched_logits(
        lambda rows, part: torch.stack([model(part).float() for _ in range(draws)]).mean(0), inputs, batch
    )


@torch.no_grad()
def batched_logits(ask: Callable[[Rows, Tensor], Tensor], inputs: Tensor, batch: int) -> Tensor:
    """Logits (N, classes) in float32, in the order of the inputs, from any function of rows and their inputs.

    ``ask`` takes the row numbers of one batch and the inputs at these rows, and returns their logits.
    """
    found = [(rows, ask(rows, part).float()) for rows, part in batches(inputs, batch)]
    logits = torch.cat([part for _, part in found])
    order = [rows for rows, _ in found if isinstance(rows, Tensor)]
    return logits if not order else logits[torch.argsort(torch.cat(order))]
