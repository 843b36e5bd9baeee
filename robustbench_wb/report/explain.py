"""Explanations of a request as text: a row per cell with its reason."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from robustbench_wb.analysis.explanation import Explanation, FieldChange
from robustbench_wb.report.text_block import Column, TextBlock, counted
from robustbench_wb.spec import to_json_types

_COLUMNS: Final = (Column("cell"), Column("will be"), Column("why"))
_WHAT: Final = {
    "reused": "reused",
    "changed": "measured",
    "not kept": "measured",
    "new": "measured",
    "unknown": "unknown",
}
_STYLES: Final = {"reused": "green", "measured": "yellow", "unknown": "red"}
_DIGEST: Final = 12
"""Displayed characters of a digest; JSON has the full digest."""


def explain_blocks(found: Sequence[Explanation]) -> list[TextBlock]:
    """Numbers of reused and measured cells, then each cell with its reason."""
    counts = Counter(_WHAT[item.outcome] for item in found)
    told = ", ".join(f"{counts[what]} {what}" for what in _STYLES if counts[what])
    rows = tuple((item.cell.label, _WHAT[item.outcome], _why(item)) for item in found)
    return [TextBlock(f"{counted(len(found), 'cell')}: {told}", columns=_COLUMNS, rows=rows, styles=_STYLES)]


def _why(item: Explanation) -> str:
    if item.outcome == "changed":
        return f"since v{item.version}: " + "; ".join(map(_change, item.changes))
    return {
        "reused": f"record {item.key[:_DIGEST]}",
        "not kept": f"no field differs from v{item.version}, but its record is not in the store: samples errored, or "
        "it was removed",
        "new": "no version of the table has this cell",
    }.get(item.outcome, item.reason)


def _change(change: FieldChange) -> str:
    parts = f" ({change.parts})" if change.parts else ""
    return f"{change.field} {_short(change.old)} -> {_short(change.new)}{parts}"


def _short(value: object) -> str:
    text = " ".join(map(str, to_json_types(value))) if isinstance(value, tuple) else str(value)
    return text[:_DIGEST] if len(text) == 64 and " " not in text else text or "none"
