"""Names of models in a table, with recipe and seed if they vary."""

from collections.abc import Iterable

from robustbench_wb.records.names import variant_name
from robustbench_wb.records.score_row import ScoreRow


def model_labels(rows: Iterable[ScoreRow]) -> dict[tuple[str, ...], str]:
    """Name of each model, by ``ScoreRow.subject``, with its recipe and seed if they vary among the rows.

    Rows without a recipe, like those of shortcut baselines, do not count as variation.
    """
    members = list(rows)
    recipes = len({row.recipe for row in members if row.recipe}) > 1
    seeds = len({row.seed for row in members}) > 1
    labels = {}
    for row in members:
        recipe = f" {row.recipe}" if recipes and row.recipe else ""
        labels[row.subject] = f"{variant_name(row)}{recipe}" + (f" seed {row.seed}" if seeds else "")
    return labels
