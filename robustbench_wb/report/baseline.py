"""History of a baseline: its chain of ancestors with mean accuracies, which shows slow drift."""

from robustbench_wb.report.json import value_json
from robustbench_wb.report.text_block import Column, TextBlock
from robustbench_wb.store.baseline import Baseline

_FIXED = (Column("baseline"), Column("measured"), Column("commit"), Column("sha256"), Column("cells", "right"))


def history_blocks(baseline: Baseline) -> list[TextBlock]:
    """Table with a row per generation, pinned ancestor first, and the mean accuracy of each suite in percent."""
    chain = (*baseline.header.ancestors, baseline.as_ancestor)
    suites = dict.fromkeys(suite for one in chain for suite in one.means)
    columns = (*_FIXED, *(Column(suite, "right") for suite in suites))
    rows = tuple(
        (
            one.source,
            one.time or "unknown",
            one.commit[:10] or "unknown",
            one.sha256[:12],
            str(one.cells),
            *(f"{100 * one.means[suite]:.1f}" if suite in one.means else "" for suite in suites),
        )
        for one in chain
    )
    notes = ("mean accuracy over all cells in percent, by suite; the first baseline was pinned, the others promoted",)
    return [TextBlock(f"baseline {baseline.header.name}", columns=columns, rows=rows, notes=notes)]


def history_json(baseline: Baseline) -> str:
    """JSON object ``{"name": "main", "chain": [...]}``, pinned ancestor first; fields of ``Ancestor``."""
    chain = (*baseline.header.ancestors, baseline.as_ancestor)
    return value_json({"name": baseline.header.name, "chain": [one.model_dump() for one in chain]})
