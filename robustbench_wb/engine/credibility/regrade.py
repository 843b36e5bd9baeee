"""Grading stored records again, from nothing but their stressors' signatures."""

from collections.abc import Callable, Mapping, Sequence

from robustbench_wb.engine.credibility.grade import GradedCell, grade
from robustbench_wb.engine.credibility.probe_choice import choose_probe
from robustbench_wb.engine.plan import Ladder
from robustbench_wb.records.credibility import Credibility
from robustbench_wb.records.record import Record
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.stressor import Stressor

Find = Callable[[Sequence[str]], Mapping[str, Record]]


def regrade(records: Sequence[Record], find: Find) -> dict[str, Credibility]:
    """The grade of every adversarial record of one subject in one suite, by key, as if they had been made in one run.

    Args:
        records: those of the subject, in the order of the table.
        find: looks keys up in the store: the evidence of the probe is a record as well.

    Raises:
        UsageError: a signature is of a stressor that there is not any more.
    """
    outcomes = [GradedCell(parse_stressor(record.identity.signature), record) for record in records]
    graded = [outcome for outcome in outcomes if outcome.stressor.kind is not None]
    ladders: dict[tuple[object, ...], list[Stressor]] = {}
    for outcome in outcomes:
        ladders.setdefault(_line(outcome.stressor), []).append(outcome.stressor)
    probe = choose_probe([Ladder(tuple(rungs)) for rungs in ladders.values()])
    evidence: Mapping[str, float] = {}
    if probe is not None:
        update = {"signature": probe.signature, "ladder": (), "stressor_code": probe.code()}
        key = records[0].identity.model_copy(update=update).key
        evidence = {key: record.evidence for key, record in find([key]).items()}.get(key, {})
    return {outcome.record.key: grade(outcome, graded, evidence) for outcome in graded}


def _line(stressor: Stressor) -> tuple[object, ...]:
    """The line of a suite that it may stand in: itself but for its strength."""
    axis = stressor.axis or ""
    return (stressor.name, *(item for item in stressor.model_dump().items() if item[0] != axis))
