"""What looking through a table found, as data."""

from typing import Any, Final

from robustbench_wb.errors import ExitCode
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec

EXIT_ORDER: Final = (ExitCode.CREDIBILITY, ExitCode.NOT_COMPARABLE, ExitCode.INCOMPLETE)
"""Of several, the first: what is known to be wrong comes before what could not be looked at."""


class Discrepancy(Spec):
    """One value that is not what it must be."""

    number: int
    """Of the row, from 1."""
    row: ScoreRow
    column: str
    """``record`` where that of the row is damaged, ``checksum`` where nothing tells which column it was."""
    written: Any
    """The value that the row holds."""
    found: Any
    """The value that it must be; None also where nothing tells."""
    reason: str


class MissingRecord(Spec):
    """A row that says that all is well, without a record that would show it."""

    number: int
    row: ScoreRow


class RemeasuredCells(Spec):
    """Some samples of a cell, measured again."""

    number: int
    row: ScoreRow
    ids: tuple[int, ...]
    """The samples that were drawn, by their row in the split."""
    states: tuple[int, ...] = ()
    """Of these, the ids whose state came out differently."""
    losses: tuple[int, ...] = ()
    """Those whose state is the same, but whose loss is not."""
    reason: str = ""
    """Why it could not be measured again, with the field that differs; empty when it was."""


class VerifyResult(Spec):
    """All that was looked at, and what was found."""

    name: str
    rows: int
    recomputed: int
    """Rows whose numbers were recomputed from their record."""
    unrecorded: int
    """Rows that failed in whole or in part, of which no record is kept: their own counts were recomputed."""
    unsealed: int
    """Rows without a checksum."""
    sealed_only: tuple[str, ...]
    """Columns that nothing but the checksum vouches for, in some rows at least."""
    context: int
    """Intact rows whose grade or shortcut comes out differently beside the other rows of the table."""
    discrepancies: tuple[Discrepancy, ...]
    missing: tuple[MissingRecord, ...]
    seed: int | None = None
    """That the samples of the reruns were drawn by; None: none were asked for."""
    reruns: tuple[RemeasuredCells, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """5 for what may not be believed, 3 for what cannot be measured again, 4 for missing records."""
        found = {
            ExitCode.CREDIBILITY: bool(self.discrepancies)
            or any(rerun.states or rerun.losses for rerun in self.reruns),
            ExitCode.NOT_COMPARABLE: any(rerun.reason for rerun in self.reruns),
            ExitCode.INCOMPLETE: bool(self.missing),
        }
        return next((code for code in EXIT_ORDER if found[code]), ExitCode.OK)
