"""``verify``: recompute a table from stored outcomes, and measure some samples again."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from robustbench_wb.analysis.verify.recompute import TRAINED, best_record
from robustbench_wb.analysis.verify.verify_result import RemeasuredCells, VerifyResult
from robustbench_wb.analysis.verify.verify_table import RecordSources, records_for_verify, verify_table
from robustbench_wb.api.arguments import COUNTS, whole_number
from robustbench_wb.api.staleness import require_rows
from robustbench_wb.engine.credibility.regrade import regrade
from robustbench_wb.engine.remeasure import Remeasured, remeasure, unlike
from robustbench_wb.engine.trust import trusted_requests
from robustbench_wb.errors import StoreError
from robustbench_wb.progress import Progress, SilentProgress
from robustbench_wb.records.credibility import Credibility
from robustbench_wb.records.perturbed_sample import SampleSelection
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.rng import permutation
from robustbench_wb.store.loaded_table import LoadedTable, load_table
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.run_requests import find_run_requests
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.stressors.catalogue import parse_stressor

LOSS_TOLERANCE: Final = 1e-3
"""Largest accepted difference of a sample's loss, in nats or relative: other batch sizes round differently, and an
attack continues from rounded values."""


def verify(
    side: str = "latest",
    results: str = "results",
    *,
    rerun: int = 0,
    seed: int = 0,
    variants: Sequence[str] = (),
    trust_code: bool = False,
    progress: Progress | None = None,
) -> VerifyResult:
    """Recompute every number of a table from the stored outcomes, and measure some samples again.

    Args:
        side: a version, ``PLACE:VERSION``, a results folder, a baseline, or a file of ``leaderboard``; see
            ``robustbench_wb.store.loaded_table.load_table``.
        results: folder or Delta URL of versions without a place, and of the records of files.
        rerun: number of samples, drawn over all cells with a record, that are measured again.
        seed: seed of the draw.
        variants: models ``path.py:factory`` whose code you trust. Other models that the table names as code of files
            are not measured again.
        trust_code: trust all code that the table names.
        progress: told what is measured again.

    Raises:
        StoreError: there is no such version, folder or file, or it cannot be read.
        UsageError: ``rerun`` or ``seed`` is no whole number, or below 0.
    """
    whole_number("rerun", rerun, low=0, stop=COUNTS)
    whole_number("seed", seed, low=0)
    table = load_table(side, results)
    require_rows(table)
    sources = _sources(table, results)
    verification = verify_table(table.name, table.rows, sources)
    if rerun == 0:
        return verification
    requests, withheld = trusted_requests(find_run_requests(table), variants, trust_code)
    drawn = draw(table.rows, [best_record(row, sources.records) for row in table.rows], count=rerun, seed=seed)
    outcomes = remeasure(requests, [one for _, one in drawn], progress or SilentProgress())
    outcomes.explain(withheld)
    return verification.model_copy(update={"seed": seed, "reruns": tuple(_compared(table, drawn, outcomes))})


def _sources(table: LoadedTable, results: str) -> RecordSources:
    """Records of a table, from its own place and from ``results``, and what is wrong with them."""
    keys = records_for_verify(table.rows)
    records: dict[str, Record] = {}
    damaged: dict[str, str] = {}
    for location in dict.fromkeys((table.location, results)):
        store = RecordStore(location)
        found, broken = store.examine([key for key in keys if key not in records])
        records |= found
        damaged |= broken | store.renamed([row.key for row in table.rows if row.key and row.key not in records])
    kept = {key: record for key, record in table.records.items() if key not in records}

    def graded(members: Sequence[Record]) -> Mapping[str, Credibility]:
        return regrade(members, lambda keys: RecordStore(table.location).examine(keys)[0])

    return RecordSources(
        records={**kept, **records},
        damaged={key: reason for key, reason in damaged.items() if key not in records},
        partial=frozenset(kept),
        describe=_describe,
        regrade=graded,
        others=lambda: _others(table),
    )


def draw(
    rows: Sequence[ScoreRow], records: Sequence[Record | None], *, count: int, seed: int
) -> list[tuple[int, SampleSelection]]:
    """Draw ``count`` samples uniformly from all cells, each at most once; return them by the index of their row.

    All samples are drawn if there are fewer. If two rows have one cell, the first counts.
    """
    known = {row.slot: index for index, row in reversed(list(enumerate(rows))) if records[index] is not None}
    members = [(index, record) for index in sorted(known.values()) if (record := records[index]) is not None]
    ends = np.cumsum([len(record.ids) for _, record in members])
    total = int(ends[-1]) if members else 0
    drawn = np.sort(permutation(total, seed, "rerun-samples")[:count].numpy()) if total else np.empty(0, np.int64)
    places = np.searchsorted(ends, drawn, side="right")
    found = []
    for place in dict.fromkeys(places.tolist()):
        index, record = members[place]
        chosen = drawn[places == place] - (ends[place] - len(record.ids))
        found.append((index, SampleSelection(rows[index].slot, record, np.sort(record.ids[chosen]))))
    return found


def _compared(
    table: LoadedTable, drawn: Sequence[tuple[int, SampleSelection]], outcomes: Remeasured
) -> Iterator[RemeasuredCells]:
    for index, one in drawn:
        known = RemeasuredCells(number=index + 1, row=table.rows[index], ids=tuple(one.ids.tolist()))
        if one.slot in outcomes.made:
            yield known.model_copy(update=unlike(one.record, outcomes.made[one.slot], LOSS_TOLERANCE))
        else:
            yield known.model_copy(update={"reason": outcomes.refused[one.slot]})


def _describe(signature: str) -> dict[str, str]:
    stressor = parse_stressor(signature)
    columns = {"stressor": stressor.label, "strength": stressor.strength, "protocol": stressor.protocol}
    return {**columns, TRAINED: ""} if stressor.retrains else columns


def _others(side: LoadedTable) -> list[ScoreRow]:
    """Rows of all other versions where the records of a table are; empty if there is no table."""
    table = ScoreTable(side.location)
    rows: list[ScoreRow] = []
    try:
        for info in reversed(table.versions()):
            if info.number != side.version:
                rows += table.rows(info.number)
    except StoreError:
        pass
    return list(dict.fromkeys(rows))
