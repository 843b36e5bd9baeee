"""Scores as CSV (RFC 4180): one line per row, a stable column order, numbers in full precision."""

import csv
import io
from collections.abc import Iterable
from typing import Final

from robustbench_wb.store.rows import ScoreRow

COLUMNS: Final = tuple(ScoreRow.model_fields)
"""The columns, in order: the fields of :class:`ScoreRow`, documented there. New ones go to the end."""

# A spreadsheet runs a cell that begins with one of these as a formula; tab and return are trimmed first.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def leaderboard_csv(rows: Iterable[ScoreRow]) -> str:
    """The rows as CSV with a header, lines ended by CRLF.

    Floats are written so that reading them gives the same number back; what is None is left empty. A text that a
    spreadsheet would run as a formula gets a leading apostrophe.
    """
    target = io.StringIO(newline="")
    writer = csv.writer(target)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(value) for value in row.model_dump().values()])
    return target.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return repr(value)
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text
