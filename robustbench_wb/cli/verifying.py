"""``verify`` as plain Python: what the command does, without parsing and printing."""

from collections.abc import Mapping, Sequence

from robustbench_wb.engine.credibility.check import Credibility
from robustbench_wb.engine.credibility.regrade import regrade
from robustbench_wb.engine.record import Record
from robustbench_wb.errors import StoreError
from robustbench_wb.stats.recompute import TRAINED
from robustbench_wb.stats.verification import Verification
from robustbench_wb.stats.verify import Sources, wanted
from robustbench_wb.stats.verify import verify as look_through
from robustbench_wb.store.records import RecordStore
from robustbench_wb.store.rows import ScoreRow
from robustbench_wb.store.scores import ScoreTable
from robustbench_wb.store.side import Side, read_side
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.retrained import Retrained


def verify(side: str = "latest", results: str = "results") -> Verification:
    """Recompute every number of a table from the stored outcomes.

    Args:
        side: a version, ``PLACE:VERSION``, a results folder, a baseline, or a file of ``leaderboard``; see
            :func:`robustbench_wb.store.side.read_side`.
        results: where versions without a place, and the records of files, are.

    Raises:
        StoreError: there is no such version, folder or file, or it cannot be read.
    """
    table = read_side(side, results)
    keys = wanted(table.rows)
    records: dict[str, Record] = {}
    damaged: dict[str, str] = {}
    for location in dict.fromkeys((table.location, results)):
        found, broken = RecordStore(location).examine([key for key in keys if key not in records])
        records |= found
        damaged |= broken
    kept = {key: record for key, record in table.records.items() if key not in records}

    def graded(members: Sequence[Record]) -> Mapping[str, Credibility]:
        return regrade(members, lambda keys: RecordStore(table.location).examine(keys)[0])

    sources = Sources(
        records={**kept, **records},
        damaged={key: reason for key, reason in damaged.items() if key not in records},
        partial=frozenset(kept),
        describe=_describe,
        regrade=graded,
        others=lambda: _others(table),
    )
    return look_through(table.name, table.rows, sources)


def _describe(signature: str) -> dict[str, str]:
    stressor = parse_stressor(signature)
    columns = {"stressor": stressor.label, "strength": stressor.strength, "protocol": stressor.protocol}
    return {**columns, TRAINED: ""} if isinstance(stressor, Retrained) else columns


def _others(side: Side) -> list[ScoreRow]:
    """Rows of every version where the side's records are, its own version left out; none where there is no table."""
    table = ScoreTable(side.location)
    rows: list[ScoreRow] = []
    try:
        for info in reversed(table.versions()):
            if info.number != side.version:
                rows += table.rows(info.number)
    except StoreError:
        pass
    return list(dict.fromkeys(rows))
