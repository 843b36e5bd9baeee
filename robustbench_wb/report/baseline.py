"""The chain of a baseline: slow drift in a glance."""

from robustbench_wb.report.json import value_json
from robustbench_wb.report.text_block import Column, TextBlock
from robustbench_wb.store.baseline import Baseline

_FIXED = (Column("baseline"), Column("measured"), Column("commit"), Column("sha256"), Column("cells", "right"))


def history_blocks(baseline: Baseline) -> list[TextBlock]:
    """A line per generation, the pinned one first, with the mean accuracy of each suite in percent."""
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
    notes = ("mean accuracy over all cells in percent, by suite; the first line was pinned, each other one promoted",)
    return [TextBlock(f"baseline {baseline.header.name}", columns, rows, notes)]


def history_json(baseline: Baseline) -> str:
    """``{"name": "main", "chain": [...]}``, the pinned one first; fields as in :class:`Ancestor`."""
    chain = (*baseline.header.ancestors, baseline.as_ancestor)
    return value_json({"name": baseline.header.name, "chain": [one.model_dump() for one in chain]})
