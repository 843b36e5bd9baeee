"""Result of verifying a table as text: a headline, then every value that does not match."""

from collections.abc import Iterator
from typing import Final

from robustbench_wb.analysis.verify.verify_result import RemeasuredCells, VerifyResult
from robustbench_wb.errors import ExitCode
from robustbench_wb.records.names import label
from robustbench_wb.report.text_block import Column, TextBlock, counted

_COLUMNS: Final = (
    Column("row", "right"),
    Column("cell"),
    Column("column"),
    Column("written", "right"),
    Column("expected", "right"),
    Column("source"),
)
_LONGEST: Final = 40
"""Displayed characters of a value; JSON has the full value."""
_WHY: Final = {
    ExitCode.CREDIBILITY: "a value does not match",
    ExitCode.NOT_COMPARABLE: "a cell cannot be measured again",
    ExitCode.INCOMPLETE: "records are missing",
}


def verify_blocks(found: VerifyResult) -> list[TextBlock]:
    """Headline with counts, then values that do not match, missing records, and samples that were measured again."""
    rows = tuple(
        (str(item.number), label(item.row), item.column, _short(item.written), _short(item.found), item.reason)
        for item in found.discrepancies
    )
    blocks = [TextBlock(verify_headline(found), notes=tuple(_counts(found)))]
    if rows:
        blocks.append(TextBlock("values that do not match", columns=_COLUMNS, rows=rows))
    if found.missing:
        lacking = tuple(f"row {item.number}: {label(item.row)}" for item in found.missing)
        blocks.append(TextBlock("no record in the store", notes=lacking))
    if found.reruns:
        title = f"samples measured again, drawn with seed {found.seed}"
        blocks.append(TextBlock(title, notes=tuple(remeasured_text(item) for item in found.reruns)))
    return blocks


def verify_headline(found: VerifyResult) -> str:
    """Outcome of the verification, like ``board.csv: failed, a value does not match (exit code 5)``."""
    code = found.exit_code
    return f"{found.name}: " + ("verified" if code == ExitCode.OK else f"failed, {_WHY[code]} (exit code {int(code)})")


def remeasured_text(item: RemeasuredCells) -> str:
    """One line on the samples of a cell that were measured again."""
    head = f"row {item.number}: {label(item.row)}: samples {', '.join(map(str, item.ids))}: "
    if item.reason:
        return f"{head}cannot be measured again: {item.reason}"
    sides = (("state", item.states), ("loss", item.losses))
    parts = [f"different {what} for {', '.join(map(str, ids))}" for what, ids in sides if ids]
    return head + ("; ".join(parts) or "same states and losses")


def _counts(found: VerifyResult) -> Iterator[str]:
    rest = found.rows - found.recomputed - found.unrecorded
    yield f"{found.recomputed} of {counted(found.rows, 'row')} recomputed from their records"
    if found.unrecorded:
        yield f"{counted(found.unrecorded, 'failed or incomplete row')} without a record, recomputed from its counts"
    if rest:
        yield f"{counted(rest, 'row')} without a readable record"
    if found.unsealed:
        yield f"{counted(found.unsealed, 'row')} without a checksum: columns that cannot be recomputed are unprotected"
    if found.sealed_only:
        yield f"columns that cannot be recomputed, protected by the checksum only: {', '.join(found.sealed_only)}"
    if found.context:
        rows = counted(found.context, "row")
        yield f"{rows} graded or compared with a shortcut in a run with other cells than this table"


def _short(value: object) -> str:
    text = "" if value is None else repr(value) if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
