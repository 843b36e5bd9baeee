"""Names of models in a table, with recipe and seed if they vary."""

from collections.abc import Iterable
from typing import Protocol

from robustbench_wb.records.names import NamedVariant, variant_name


class TrainedVariant(NamedVariant, Protocol):
    """Fields that name an architecture with its training. Score rows, headline rows and architectures have them."""

    @property
    def recipe(self) -> str:
        """Training configuration; empty for shortcut baselines."""


class LabelledModel(TrainedVariant, Protocol):
    """Fields that name a model: those of ``ScoreRow.subject``. Score rows and headline rows have them."""

    @property
    def seed(self) -> int:
        """Seed of the run."""

    @property
    def subject(self) -> tuple[str, ...]:
        """Variant, size, recipe and seed."""


def model_labels(rows: Iterable[LabelledModel], *, sized: bool = True) -> dict[tuple[str, ...], str]:
    """Name of each model, by ``subject``, with its recipe and seed if they vary among the rows.

    Rows without a recipe, like those of shortcut baselines, do not count as variation. Without ``sized``,
    a size that all rows share is left out.
    """
    members = list(rows)
    recipes = len({row.recipe for row in members if row.recipe}) > 1
    seeds = len({row.seed for row in members}) > 1
    sizes = sized or len({row.size for row in members}) > 1
    labels = {}
    for row in members:
        recipe = f" {row.recipe}" if recipes and row.recipe else ""
        labels[row.subject] = f"{variant_name(row) if sizes else row.variant}{recipe}" + (
            f" seed {row.seed}" if seeds else ""
        )
    return labels


def recipe_text(rows: Iterable[TrainedVariant]) -> str:
    """The recipe of all rows, like ``recipe standard;epochs=5``; empty for ``standard``, and where recipes vary."""
    found = {row.recipe for row in rows if row.recipe}
    return f"recipe {found.pop()}" if len(found) == 1 and found != {"standard"} else ""
