"""Evaluation of one model on one task: the clean cell first, then any of its ladders."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.engine.batch import FEW
from robustbench_wb.engine.cell_measurer import CellResult, cache_layers, find_or_measure
from robustbench_wb.engine.cost_forecast import ladder_seconds, time_model
from robustbench_wb.engine.credibility.probe import Probe
from robustbench_wb.engine.device_errors import watching_device
from robustbench_wb.engine.model_session import ModelSession, open_session
from robustbench_wb.engine.plan import Ladder, SubjectPlan
from robustbench_wb.engine.record_keeper import Span
from robustbench_wb.engine.task_context import TaskContext, is_probe
from robustbench_wb.engine.time_limit import time_limit
from robustbench_wb.errors import MeasurementError, as_measurement_error
from robustbench_wb.layers.drift import LayerPair
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.records.record import Cell, Identity, Measurement, State, SubjectCard
from robustbench_wb.user_code import UserCode

_log = logging.getLogger(__name__)
_NO_SUBJECT = SubjectCard(parameters=0, weights="", train_seconds=0.0, trained=False)


@dataclass(eq=False, kw_only=True)
class ModelEvaluation:
    """Measures the ladders of one model. Without the model, or without its clean cell, all cells are errors."""

    context: TaskContext
    plan: SubjectPlan
    session: ModelSession | None
    """The model, ready to be measured; None if it cannot be built or trained."""
    error: str = ""
    """Reason why there is no session."""

    @cached_property
    def ladders(self) -> tuple[Ladder, ...]:
        """Ladders of the model; the first is the clean cell."""
        return self.context.ladders(self.plan)

    @cached_property
    def clean(self) -> Measurement:
        """The clean cell, found or measured when it is first needed."""
        ladder = self.ladders[0]
        if self.session is None:
            return next(self._failed(ladder, _NO_SUBJECT, self.error))
        return next(self._steps(self.session, ladder, None))

    def measure(self, ladder: Ladder, span: Span | None = None) -> Iterator[Measurement]:
        """Yield the cells of one of the ``ladders``, in order. A cell that fails holds its error.

        Args:
            ladder: what is measured.
            span: samples on which it is measured, in ``TaskContext.order``, see ``is_divisible``; None: all.
        """
        session = self.session
        if ladder == self.ladders[0]:
            yield self.clean
        elif session is None:
            yield from self._failed(ladder, _NO_SUBJECT, self.error)
        elif self.clean.record is None:
            yield from self._failed(ladder, session.subject.card, f"the clean cell failed: {self.clean.error}")
        elif lacking := self.context.surrogates.lacking(ladder):
            yield from self._failed(ladder, session.subject.card, lacking)
        elif ladder.contaminations:
            yield from self._retrained(session, ladder, self.clean.record.states)
        else:
            before = tried(ladder, self.clean.record.states)
            if needs_models(ladder):
                session = session.with_known((ladder,))
            if span is not None and span != (0, len(before)):
                session, before = session.on_samples(span), before[self.context.rows(span)]
            yield from self._steps(session, ladder, before)

    def _retrained(self, session: ModelSession, ladder: Ladder, before: NDArray[np.int8]) -> Iterator[Measurement]:
        """Measure each rung on a model of its own, trained on the training split that the rung contaminates."""
        for stressor, alone in zip(ladder.contaminations, ladder.split, strict=True):
            try:
                with watching_device(self.context.run.device, f"{self.plan.name}, {stressor.label}"):
                    trained = session.retrained(stressor)
            except MeasurementError as error:
                _log.debug("no contaminated subject", exc_info=True)
                yield from self._failed(alone, _NO_SUBJECT, str(error))
                continue
            yield from self._steps(trained, alone, before)

    def _steps(self, session: ModelSession, ladder: Ladder, before: NDArray[np.int8] | None) -> Iterator[Measurement]:
        """Measure one stressor at ascending strengths; samples that a lower strength broke are not tried again."""
        context, probe = self.context, is_probe(ladder)
        layers, is_clean = context.run.plan.layers and not probe, before is None
        for step in context.steps(session.subject, ladder):
            cells = [context.cell(self.plan, rung) for rung in step.rungs]
            # The forecast does not count the probe.
            work = 0.0 if probe else ladder_seconds(Ladder(step.rungs), len(session.samples), context.cost(self.plan))
            try:
                with watching_device(context.run.device, cells[0].label), context.progress.planned_work(work):
                    results = find_or_measure(session, step, before=before, layers=layers)
            except MeasurementError as error:
                if probe:
                    _log.warning("%s: not graded above B: %s", self.plan.name, error)
                _log.debug("cell failed", exc_info=True)
                for cell, identity in zip(cells, step.identities, strict=True):
                    yield self._measurement(session, cell, identity=identity, error=str(error))
                continue
            finished = [
                self._measurement(
                    session, cell, identity=identity, result=result, layers=self._beside_clean(result, is_clean)
                )
                for cell, identity, result in zip(cells, step.identities, results, strict=True)
            ]
            cache_layers(results)
            yield from finished
            if ladder.rungs[0].adversarial():
                before = results[-1].record.states

    def _failed(self, ladder: Ladder, card: SubjectCard, error: str) -> Iterator[Measurement]:
        """Yield an error for every cell of a ladder, and take its work from the forecast, which has no probes."""
        if not is_probe(ladder):
            context = self.context
            context.progress.plan_less(ladder_seconds(ladder, len(context.samples), context.cost(self.plan)))
        for rung in ladder.rungs:
            yield Measurement(
                cell=self.context.cell(self.plan, rung),
                identity=None,
                subject=card,
                record=None,
                reused=False,
                samples=len(self.context.samples),
                error=error,
            )

    def _measurement(
        self,
        session: ModelSession,
        cell: Cell,
        *,
        identity: Identity,
        result: CellResult | None = None,
        layers: LayerPair | None = None,
        error: str = "",
    ) -> Measurement:
        return Measurement(
            cell=cell,
            identity=identity,
            subject=session.subject.card,
            record=None if result is None else result.record,
            reused=result is not None and result.reused,
            samples=len(session.samples),
            error=error if result is None else result.record.problem,
            layers=layers,
        )

    def _beside_clean(self, result: CellResult, is_clean: bool) -> LayerPair | None:
        """Pair the layers of a cell with the clean ones of the same samples."""
        if result.layers is None:
            return None
        if is_clean:
            return LayerPair(clean=result.layers, stressed=result.layers)
        clean = self.clean.layers
        return None if clean is None else LayerPair(clean=clean.clean.select(result.layers.ids), stressed=result.layers)


def begin_evaluation(context: TaskContext, plan: SubjectPlan) -> ModelEvaluation:
    """Train a model, or find it in the cache, and look up its stored records."""
    try:
        with watching_device(context.run.device, plan.name):
            session = open_session(context, plan)
    except MeasurementError as error:
        _log.debug("no subject", exc_info=True)
        return ModelEvaluation(context=context, plan=plan, session=None, error=str(error))
    # Records of the others are looked up when their models are there.
    own = tuple(ladder for ladder in context.ladders(plan) if not needs_models(ladder))
    session = session.with_known(own)
    if context.cost(plan).untimed and not all(key in session.known for key in context.keys(session.subject, own)):
        _time(session)
    return ModelEvaluation(context=context, plan=plan, session=session)


def _time(session: ModelSession) -> None:
    """Time a model on a few samples. It stays untimed where the model fails: its cells say so."""
    context, plan = session.context, session.plan
    device, limit = context.run.device, context.run.request.timeout
    try:
        with as_measurement_error(plan.name), UserCode(plan.name).running(libraries=False), time_limit(limit):
            inputs = to_inputs(session.samples.inputs[:FEW], device)
            context.add_cost(plan, time_model(session.subject.model, inputs, trained=inputs))
    except MeasurementError:
        _log.debug("not timed", exc_info=True)


def needs_models(ladder: Ladder) -> bool:
    """Whether a ladder needs other models than the evaluated one, which may have to be trained."""
    return bool(ladder.contaminations) or ladder.rungs[0].surrogate is not None


def tried(ladder: Ladder, clean: NDArray[np.int8]) -> NDArray[np.int8]:
    """States of the samples when a ladder begins: a probe is given only the first samples that are right when clean."""
    probe = ladder.rungs[0]
    if not isinstance(probe, Probe):
        return clean
    before = clean.copy()
    before[np.flatnonzero(before == State.ROBUST)[probe.looked_at :]] = State.NOT_RUN
    return before
