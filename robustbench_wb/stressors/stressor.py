"""Stressors: immutable values whose printed form is their signature, with one method that perturbs."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, Self, TypeVar

from pydantic import ValidationError
from torch import Tensor

from robustbench_wb.errors import UsageError
from robustbench_wb.registry import suggest_names
from robustbench_wb.source import code_digest
from robustbench_wb.spec import Spec, to_json_types
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.protocol import ProtocolName
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch

AttackKind = Literal["control", "single-step", "white-box", "black-box", "ensemble"]
Modality = Literal["image", "text", "labelled", "tokens", "language", "any"]
"""Inputs that a stressor can perturb: images, texts with labels, token ids with labels, token ids of any kind, token
ids of language modelling, or any of these."""


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
    retrains: ClassVar[bool] = False
    """Whether the stressor contaminates the training split, so that every strength needs a model of its own."""

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
    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Perturb every sample of the batch; report every finished sample to ``access.advance``.

        Raises:
            MeasurementError: the stressor cannot be applied to this model or task.
        """

    def sweep(self, batch: SampleBatch, access: ModelAccess, rungs: Sequence[Self]) -> list[PerturbedBatch]:
        """Perturb every sample at every rung of an ascending ladder; a sample broken at one rung is broken at all
        higher ones.

        Raises:
            MeasurementError: the stressor cannot be applied to this model or task.
        """
        raise NotImplementedError(f"{self.name} does not sweep")

    def check(self, clean: Tensor, perturbed: Tensor) -> None:
        """Reject perturbed inputs that violate the stressor's threat model.

        Raises:
            MeasurementError: an image left its ball or the box [0, 1].
        """

    def verify(self, batch: SampleBatch, perturbed: PerturbedBatch, access: ModelAccess) -> None:
        """Reject perturbed samples that violate the threat model. Texts need more than token ids, word vectors need
        the model.

        Raises:
            MeasurementError: a sample violates the threat model.
        """
        self.check(batch.inputs, perturbed.inputs)


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
