"""Names of evaluations: variant, cell, row label, and the slot of a row in a table."""

import re
from typing import Final, Literal, NamedTuple, Protocol

Metric = Literal["accuracy", "perplexity"]
"""Metric of a cell: share of correct samples, or exponential of their mean loss."""


class Slot(NamedTuple):
    """Values that identify a row of a table; a later measurement of the same slot replaces the row."""

    task: str
    variant: str
    size: str
    recipe: str
    scale: str
    suite: str
    stressor: str
    strength: str
    seed: int


SLOT: tuple[str, ...] = Slot._fields
"""Fields of a ``Slot``, in order."""

CUSTOM = "-custom"
"""Suffix of the name of a suite that a request changed; a hyphen and a digest of its content follow."""

_DATE: Final = re.compile(
    r"(?!\d+[./]\d+\Z)"  # a fraction or a decimal number
    r"(?:\d{1,4}[-./ ]+(?:[^\W\d]{3,9}\.?|\d{1,2})(?:[-./ ]\d{2,4})?|[^\W\d]{3,9}[-./ ]\d{1,4})"
)

SHORTCUT = "shortcut:"
"""Prefix of the variant name of a shortcut baseline."""


class NamedVariant(Protocol):
    """Fields that name a variant: its registered name, and its size, which is empty for models from outside."""

    @property
    def variant(self) -> str:
        """Registered name or signature of the model."""

    @property
    def size(self) -> str:
        """Size of a registered variant, like ``nano``; empty for other models."""


class NamedCell(NamedVariant, Protocol):
    """Fields that name an evaluation: those of ``SLOT``. Cells and rows of a score table have them."""

    @property
    def task(self) -> str:
        """Name of the data, like ``digits``."""

    @property
    def recipe(self) -> str:
        """Training configuration."""

    @property
    def scale(self) -> str:
        """Scale of the suite: ``smoke``, ``small`` or ``full``."""

    @property
    def suite(self) -> str:
        """Name of the suite."""

    @property
    def stressor(self) -> str:
        """Name of the attack or corruption without numbers."""

    @property
    def strength(self) -> str:
        """Strength as exact text, like ``8/255``."""

    @property
    def seed(self) -> int:
        """Seed of the run."""


def variant_name(named: NamedVariant) -> str:
    """Name of a variant with its size, like ``vit-nano`` or ``crate-nano;lam=0.05``; without a size the bare name."""
    name, changed, numbers = named.variant.partition(";")
    return f"{name}-{named.size}{changed}{numbers}" if named.size else named.variant


def cell_name(stressor: str, strength: str) -> str:
    """Name of an attack or corruption at a strength, like ``pgd-linf@8/255``; without a strength the bare name."""
    return f"{stressor}@{strength}" if strength else stressor


def subject_label(named: NamedCell) -> str:
    """Name of the evaluated model and task, like ``digits smoke adversarial: vit-nano standard seed 0``."""
    subject = " ".join(part for part in (variant_name(named), named.recipe, f"seed {named.seed}") if part)
    return f"{named.task} {named.scale} {named.suite}: {subject}"


def label(named: NamedCell) -> str:
    """Name of an evaluation, like ``digits smoke adversarial: vit-nano standard seed 0, pgd-linf@8/255``."""
    return f"{subject_label(named)}, {cell_name(named.stressor, named.strength)}"


def slot(named: NamedCell) -> Slot:
    """Slot of an evaluation: the values of the fields in ``SLOT``."""
    return Slot(
        task=named.task,
        variant=named.variant,
        size=named.size,
        recipe=named.recipe,
        scale=named.scale,
        suite=named.suite,
        stressor=named.stressor,
        strength=named.strength,
        seed=named.seed,
    )


def suite_family(suite: str) -> str:
    """Name of a suite without the digest of its content: all changes of one suite have one name."""
    name, custom, _ = suite.partition(CUSTOM)
    return name + custom


def is_date(strength: str) -> bool:
    """Whether a strength is a date as spreadsheets make it of a fraction: ``01-Feb``, ``1. Feb``, ``2026-02-01``.

    A fraction like ``1/4`` is none, though it could be one of some countries.
    """
    return _DATE.fullmatch(strength) is not None
