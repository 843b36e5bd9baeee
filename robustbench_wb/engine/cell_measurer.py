"""Records of some cells of a model, found among the stored ones or measured now, with their layers if asked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.engine.batch import FEW
from robustbench_wb.engine.credibility.probe import Probe
from robustbench_wb.engine.credibility.written_input import with_written_input
from robustbench_wb.engine.device_errors import refuse_lost_device
from robustbench_wb.engine.layer_observer import LayerObserver, find_layers, keep_layers
from robustbench_wb.engine.measure import LadderStep, measure
from robustbench_wb.engine.model_session import ModelSession
from robustbench_wb.engine.perturbed_cache import PerturbedCache
from robustbench_wb.engine.task_samples import refuse_small_images
from robustbench_wb.engine.time_limit import time_limit
from robustbench_wb.errors import as_measurement_error
from robustbench_wb.layers.table import LayerTable
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.records.record import Record, State
from robustbench_wb.stressors.model_free import ModelFreeStressor


@dataclass(frozen=True, eq=False, kw_only=True)
class CellResult:
    """The result of one cell."""

    record: Record
    layers: LayerTable | None
    """Layers of the samples that the cell tried; None if they are not asked for, or could not be measured."""
    reused: bool
    """True if the record was found, false if it was measured now."""
    measured_layers: bool
    """True if the layers were measured now."""


def find_or_measure(
    session: ModelSession, step: LadderStep, *, before: NDArray[np.int8] | None, layers: bool
) -> list[CellResult]:
    """Find the records of a step among those of the session, or measure them all.

    Cells whose ``layers`` are asked for and not cached are measured again, because a record does not hold its perturbed
    inputs, and so are all cells of a step that lacks some of them. The stored records are kept then.

    Raises:
        MeasurementError: the model, the stressor or its surrogate failed.
    """
    keys = [identity.key for identity in step.identities]
    known = [session.known.get(key) for key in keys]
    observed = layers and session.has_layers
    tables = [find_layers(key) if observed else None for key in keys]
    made: Sequence[Record | None] = known
    measured = None in known or (observed and None in tables)
    if measured:
        refuse_lost_device(session.context.run.device)
        limit = session.context.run.request.timeout
        with as_measurement_error(session.plan.name), time_limit(None if limit is None else limit * len(step.rungs)):
            made, tables = _measure(session, step, before=before, layers=observed)
    return [
        CellResult(record=record, layers=table, reused=stored is not None, measured_layers=measured)
        for stored, new, table in zip(known, made, tables, strict=True)
        if (record := stored or new) is not None
    ]


def cache_layers(results: Sequence[CellResult]) -> None:
    """Cache the layers that were measured now. Those of a record with errored samples are not whole, and not cached."""
    for result in results:
        if result.layers is not None and result.measured_layers and not result.record.count(State.ERRORED):
            keep_layers(result.record.key, result.layers)


def _measure(
    session: ModelSession, step: LadderStep, *, before: NDArray[np.int8] | None, layers: bool
) -> tuple[list[Record], list[LayerTable | None]]:
    """Measure the records of a step, and their layers if asked."""
    stressor, context = step.rungs[0], session.context
    refuse_small_images(session.samples, stressor.name)
    with as_measurement_error(stressor.name):
        access = session.access(stressor)
    observers = [LayerObserver() for _ in step.rungs] if layers else []
    strengths, content = ", ".join(rung.strength for rung in step.rungs), ""
    label = " ".join(part for part in (session.plan.name, stressor.label, strengths) if part)
    if isinstance(stressor, ModelFreeStressor):
        cached, content = _perturbed_cache(session).take(stressor)
        step = replace(step, rungs=(cached,))
    with context.progress.stage(label, len(session.samples), "samples") as advance:
        found = measure(step, access, session.samples, before=before, advance=advance, observers=observers)
    records = [replace(record, perturbed=content) for record in found]
    if isinstance(stressor, Probe):
        first = to_inputs(session.samples.inputs[:FEW], context.run.device)
        records = [
            replace(record, evidence=with_written_input(record.evidence, access.model, first)) for record in records
        ]
    return records, [observer.table for observer in observers] or [None] * len(records)


def _perturbed_cache(session: ModelSession) -> PerturbedCache:
    run = session.context.run
    return PerturbedCache(
        samples=session.samples,
        data=session.context.dataset.digest,
        seed=run.plan.seed,
        device=run.device,
        progress=run.progress,
        last=session.context.taken,
    )
