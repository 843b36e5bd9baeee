"""Grades of stored records, recomputed from the signatures of their stressors."""

from collections.abc import Callable, Mapping, Sequence

from robustbench_wb.engine.credibility.grade import GradedCell, grade_cell
from robustbench_wb.engine.credibility.probe_choice import choose_probe
from robustbench_wb.engine.plan import Ladder
from robustbench_wb.records.credibility import Credibility
from robustbench_wb.records.record import Record
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.stressor import Stressor

Find = Callable[[Sequence[str]], Mapping[str, Record]]
"""Function that looks up records by their keys and returns those that the store has."""


def regrade(records: Sequence[Record], find: Find) -> dict[str, Credibility]:
    """Grade every adversarial record of one model in one suite, as if one run had made all records.

    Args:
        records: all records of the model, in the order of the table.
        find: looks up the record of the probe in the store.

    Returns:
        Grade of each adversarial record, by its key.

    Raises:
        UsageError: a signature names a stressor that does not exist any more.
    """
    cells = [GradedCell(parse_stressor(record.identity.signature), record) for record in records]
    attacks = [cell for cell in cells if cell.stressor.kind is not None]
    ladders: dict[tuple[object, ...], list[Stressor]] = {}
    for cell in cells:
        ladders.setdefault(_without_strength(cell.stressor), []).append(cell.stressor)
    probe = choose_probe([Ladder(tuple(rungs)) for rungs in ladders.values()])
    evidence: Mapping[str, float] = {}
    if probe is not None:
        update = {"signature": probe.signature, "ladder": (), "stressor_code": probe.code()}
        key = records[0].identity.model_copy(update=update).key
        evidence = {key: record.evidence for key, record in find([key]).items()}.get(key, {})
    return {attack.record.key: grade_cell(attack, attacks, evidence) for attack in attacks}


def _without_strength(stressor: Stressor) -> tuple[object, ...]:
    """Name and parameters of a stressor without its strength: equal for all rungs of a ladder."""
    axis = stressor.axis or ""
    return (stressor.name, *(item for item in stressor.model_dump().items() if item[0] != axis))
