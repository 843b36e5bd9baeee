"""Sample rows of a run with ``--layers``."""

import numpy as np

from robustbench_wb.layers.drift import LayerPair
from robustbench_wb.layers.table import LayerTable
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import canonical_json

LAYERS, SAMPLES = 3, 20


def tables(number: int) -> LayerPair:
    """Layer tables with sparsity undefined for the second model, and entropy undefined for some samples."""
    rng = np.random.default_rng(number)

    def table(shift: float) -> LayerTable:
        entropy = rng.normal(2 + shift, 0.5, (LAYERS, SAMPLES))
        entropy[0, :5] = np.nan
        sparsity = rng.uniform(0, 1, (LAYERS, SAMPLES)) if number == 0 else np.full((LAYERS, SAMPLES), np.nan)
        return LayerTable(np.arange(SAMPLES), {"entropy": entropy, "sparsity": sparsity})

    return LayerPair(table(0), table(0.3))


def looked(rows: list[ScoreRow], pairs: dict[str, LayerPair]) -> list[ScoreRow]:
    """Rows with layer columns, like those of a run with ``--layers``."""
    found = []
    for row in rows:
        pair, clean = pairs[row.variant], row.stressor == "clean"
        drift = {} if clean else {name: moved.plain() for name, moved in pair.drift.items()}
        content = {"n": SAMPLES, "measures": (pair.clean if clean else pair.stressed).plain(), "drift": drift}
        found.append(row.model_copy(update={"layers": canonical_json(content)}))
    return found
