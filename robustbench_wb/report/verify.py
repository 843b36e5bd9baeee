"""A verification as text: is all as it must be, and every value that is not."""

from collections.abc import Iterator
from typing import Final

from robustbench_wb.analysis.verify.verify_result import RemeasuredCells, VerifyResult
from robustbench_wb.errors import ExitCode
from robustbench_wb.records.names import label
from robustbench_wb.report.text_block import Column, TextBlock

_COLUMNS: Final = (
    Column("row", "right"),
    Column("cell"),
    Column("column"),
    Column("written", "right"),
    Column("found", "right"),
    Column("how"),
)
_LONGEST: Final = 40
"""Characters of a value that are shown; JSON has all."""
_WHY: Final = {
    ExitCode.CREDIBILITY: "a number may not be believed",
    ExitCode.NOT_COMPARABLE: "a cell cannot be measured again",
    ExitCode.INCOMPLETE: "records are missing",
}


def verify_blocks(found: VerifyResult) -> list[TextBlock]:
    """The verdict, then every value that is not what it must be, then the cells that were measured again."""
    rows = tuple(
        (str(item.number), label(item.row), item.column, _short(item.written), _short(item.found), item.reason)
        for item in found.discrepancies
    )
    blocks = [TextBlock(verify_headline(found), (), (), tuple(_counts(found)))]
    if rows:
        blocks.append(TextBlock("not what it must be", _COLUMNS, rows))
    if found.missing:
        lacking = tuple(f"row {item.number}: {label(item.row)}" for item in found.missing)
        blocks.append(TextBlock("no record in the store", (), (), lacking))
    if found.reruns:
        title = f"measured again, drawn by seed {found.seed}"
        blocks.append(TextBlock(title, (), (), tuple(remeasured_text(item) for item in found.reruns)))
    return blocks


def verify_headline(found: VerifyResult) -> str:
    """``board.csv: failed, a number may not be believed (exit code 5)``."""
    code = found.exit_code
    return f"{found.name}: " + ("verified" if code == ExitCode.OK else f"failed, {_WHY[code]} (exit code {int(code)})")


def remeasured_text(item: RemeasuredCells) -> str:
    """What became of some samples that were measured again."""
    head = f"row {item.number}: {label(item.row)}: samples {', '.join(map(str, item.ids))}: "
    if item.reason:
        return f"{head}cannot be measured again: {item.reason}"
    parts = [f"{what} of {', '.join(map(str, ids))} is another one" for what, ids in _unlike(item) if ids]
    return head + ("; ".join(parts) or "the same")


def _unlike(item: RemeasuredCells) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return ("the state", item.states), ("the loss", item.losses)


def _counts(found: VerifyResult) -> Iterator[str]:
    rest = found.rows - found.recomputed - found.unrecorded
    yield f"{found.recomputed} of {found.rows} rows recomputed from their records"
    if found.unrecorded:
        yield f"{found.unrecorded} rows failed in whole or in part: no record of them is kept, their counts add up"
    if rest:
        yield f"{rest} rows without a record that can be read"
    if found.unsealed:
        yield f"{found.unsealed} rows without checksum: nothing vouches for what is not derivable in them"
    if found.sealed_only:
        yield f"not derivable, known by the checksum alone: {', '.join(found.sealed_only)}"
    if found.context:
        yield f"{found.context} rows were graded, or held against a shortcut, beside other rows than those of the table"


def _short(value: object) -> str:
    text = "" if value is None else repr(value) if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
