"""Result of verifying a table: values that do not match, missing records, and remeasured samples. Data only."""

from typing import TYPE_CHECKING, Final

from robustbench_wb.errors import ExitCode
from robustbench_wb.frames import columns, names, to_frame
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec

if TYPE_CHECKING:
    import pandas as pd

EXIT_ORDER: Final = (ExitCode.CREDIBILITY, ExitCode.NOT_COMPARABLE, ExitCode.INCOMPLETE)
"""Exit codes by severity; the first that applies is returned."""


class Discrepancy(Spec):
    """Value in a table that does not match its sources."""

    number: int
    """Row number, from 1."""
    row: ScoreRow
    column: str
    """Name of the column; ``record`` if the record of the row is damaged, ``cell`` if the cell has several rows,
    ``checksum`` if the edited column cannot be identified."""
    written: object
    """Value in the row."""
    found: object
    """Value that the row must have; None also if it is unknown."""
    reason: str
    """How the true value is known, or why it is not."""


class MissingRecord(Spec):
    """Row with status ``ok`` whose record is not in the store."""

    number: int
    """Row number, from 1."""
    row: ScoreRow


class RemeasuredCells(Spec):
    """Samples of a cell that were measured again."""

    number: int
    """Row number, from 1."""
    row: ScoreRow
    ids: tuple[int, ...]
    """Ids of the drawn samples: their row numbers in the split."""
    states: tuple[int, ...] = ()
    """Ids of samples with another state."""
    losses: tuple[int, ...] = ()
    """Ids of samples with an equal state and another loss."""
    reason: str = ""
    """Reason for not measuring again, with the field that differs; empty if the samples were measured."""


class VerifyResult(Spec):
    """Number of verified rows, and all findings."""

    name: str
    """Name of the table."""
    rows: int
    recomputed: int
    """Rows whose numbers were recomputed from their record."""
    unrecorded: int
    """Failed or incomplete rows, which keep no record; their numbers were recomputed from their own counts."""
    unsealed: int
    """Rows without a checksum."""
    sealed_only: tuple[str, ...]
    """Columns that only the checksum protects, in at least some rows."""
    context: int
    """Intact rows whose grade or shortcut differs when recomputed from the rows of this table."""
    discrepancies: tuple[Discrepancy, ...]
    missing: tuple[MissingRecord, ...]
    seed: int | None = None
    """Seed that drew the samples to measure again; None if none were requested."""
    reruns: tuple[RemeasuredCells, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """CREDIBILITY for wrong values, NOT_COMPARABLE for cells that cannot be measured again, INCOMPLETE for missing
        records, else OK."""
        found = {
            ExitCode.CREDIBILITY: bool(self.discrepancies)
            or any(rerun.states or rerun.losses for rerun in self.reruns),
            ExitCode.NOT_COMPARABLE: any(rerun.reason for rerun in self.reruns),
            ExitCode.INCOMPLETE: bool(self.missing),
        }
        return next((code for code in EXIT_ORDER if found[code]), ExitCode.OK)

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per discrepancy."""
        return to_frame({**names(item.row), **columns(item, ("row",))} for item in self.discrepancies)
