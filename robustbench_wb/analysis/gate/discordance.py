"""Stored discordance: the share of samples whose outcome changed between two measurements of a cell."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Literal, NamedTuple

from robustbench_wb.analysis.compare.align import align
from robustbench_wb.analysis.compare.paired_outcomes import accuracy_outcomes
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec

DiscordanceSource = Literal["versions", "seeds", "models"]
"""What was compared: two versions of a model, two seeds of a model, or two models."""


class CellDiscordance(Spec):
    """Discordance of one cell, the mean over all compared pairs."""

    task: str
    cell: str
    """Name such as ``pgd-linf@8/255``."""
    changed: float
    """Share of samples that change without any drop: twice the smaller share of losses and gains."""
    seed_error: float | None = None
    """Root mean square of the differences in accuracy between seeds, a share; None if no seeds were compared."""
    n: int
    """Samples of each pair."""
    pairs: int
    """Number of pairs."""


class StoredDiscordance(Spec):
    """Discordance of the cells of a table."""

    source: DiscordanceSource
    tables: str
    """Names of the tables."""
    cells: tuple[CellDiscordance, ...]

    @property
    def tasks(self) -> list[str]:
        """Tasks with a known cell."""
        return list(dict.fromkeys(cell.task for cell in self.cells))

    def hardest(self, task: str) -> CellDiscordance | None:
        """Cell of a task that changes most; None if the task has none."""
        return max((cell for cell in self.cells if cell.task == task), key=lambda cell: cell.changed, default=None)


class MeasuredPair(NamedTuple):
    """Two rows of one cell, measured on the same samples."""

    old: ScoreRow
    new: ScoreRow


def measurement_pairs(rows: Sequence[ScoreRow], baseline: Sequence[ScoreRow] = ()) -> list[MeasuredPair]:
    """Pairs of rows that measured one cell on the same samples: with ``baseline`` those of the two tables with
    different records, otherwise those of models in ``rows``."""
    if baseline:
        matches = align(baseline, rows).matches
        return [MeasuredPair(one.old, one.new) for one in matches if not one.differing and one.old.key != one.new.key]
    cells: dict[tuple[str, ...], list[ScoreRow]] = {}
    for row in {row.key: row for row in rows}.values():  # suites may share a record
        if row.metric == "accuracy" and row.status == "ok":
            cells.setdefault((row.data, row.samples, row.signature, row.stressor_code, row.ladder), []).append(row)
    return [MeasuredPair(old, new) for members in cells.values() for old, new in combinations(members, 2)]


def stored_discordance(
    rows: Sequence[ScoreRow], baseline: Sequence[ScoreRow], *, records: Mapping[str, Record], tables: str
) -> StoredDiscordance | None:
    """Discordance between a table and its baseline; without a baseline between the seeds of each model, or, if no model
    has several seeds, between models.

    Args:
        rows: table of results.
        baseline: earlier table; empty without one.
        records: records of ``measurement_pairs`` by key.
        tables: names of the tables, for the result.

    Returns:
        The discordance; None if nothing can be compared.
    """
    pairs = [pair for pair in measurement_pairs(rows, baseline) if pair.new.metric == "accuracy"]
    seeds = [pair for pair in pairs if pair.old.subject[:-1] == pair.new.subject[:-1] and not baseline]
    source: DiscordanceSource = "versions" if baseline else "seeds" if seeds else "models"
    found = _cells(pairs if source != "seeds" else seeds, records, seeds=source == "seeds")
    return StoredDiscordance(source=source, tables=tables, cells=tuple(found)) if found else None


def _cells(pairs: Iterable[MeasuredPair], records: Mapping[str, Record], *, seeds: bool) -> list[CellDiscordance]:
    shares: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    for old, new in pairs:
        outcomes = accuracy_outcomes(records.get(old.key), records.get(new.key), new.n)
        if outcomes is None or outcomes.unjudged:
            continue
        counts = len(outcomes.lost_ids) / new.n, len(outcomes.gained_ids) / new.n
        shares.setdefault((new.task, new.cell, new.n), []).append(counts)
    return [
        CellDiscordance(
            task=task,
            cell=cell,
            changed=fmean(2 * min(pair) for pair in found),
            seed_error=fmean((lost - gained) ** 2 for lost, gained in found) ** 0.5 if seeds else None,
            n=n,
            pairs=len(found),
        )
        for (task, cell, n), found in shares.items()
    ]
