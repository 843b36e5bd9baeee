"""Explanations as text: a line per cell, and what changed."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from robustbench_wb.analysis.explanation import Explanation, FieldChange
from robustbench_wb.report.text_block import Column, TextBlock
from robustbench_wb.spec import to_json_types

_COLUMNS: Final = (Column("cell"), Column("will be"), Column("why"))
_WHAT: Final = {
    "reused": "reused",
    "changed": "measured",
    "not kept": "measured",
    "new": "measured",
    "unknown": "unknown",
}
STYLES: Final = {"reused": "green", "measured": "yellow", "unknown": "red"}
_DIGEST: Final = 12
"""Characters of a digest that are shown; JSON has all."""


def explain_blocks(found: Sequence[Explanation]) -> list[TextBlock]:
    """How many cells are reused and measured, then each with its reason."""
    counts = Counter(_WHAT[item.outcome] for item in found)
    told = ", ".join(f"{counts[what]} {what}" for what in STYLES if counts[what])
    rows = tuple((item.cell.label, _WHAT[item.outcome], _why(item)) for item in found)
    return [TextBlock(f"{len(found)} cells: {told}", _COLUMNS, rows, (), STYLES)]


def _why(item: Explanation) -> str:
    if item.outcome == "changed":
        return f"since v{item.version}: " + "; ".join(map(_change, item.changes))
    return {
        "reused": f"record {item.key[:_DIGEST]}",
        "not kept": f"nothing differs from v{item.version}, whose record was not kept: samples errored, or it is gone",
        "new": "no version has a row of these names",
    }.get(item.outcome, item.reason)


def _change(change: FieldChange) -> str:
    return f"{change.field} {_short(change.old)} -> {_short(change.new)}"


def _short(value: object) -> str:
    text = " ".join(map(str, to_json_types(value))) if isinstance(value, tuple) else str(value)
    return text[:_DIGEST] if len(text) == 64 and " " not in text else text or "none"
