"""One task and what is measured on it: subjects trained or found, cells measured or found, records kept at once."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.engine.batch import BatchSize, batch_for
from robustbench_wb.engine.cost_forecast import FREE, SampleCost, ladder_seconds, training_seconds
from robustbench_wb.engine.credibility.grade import GradedCell, grade
from robustbench_wb.engine.credibility.probe import Probe
from robustbench_wb.engine.credibility.probe_choice import choose_probe
from robustbench_wb.engine.device import numerics
from robustbench_wb.engine.layer_observer import LayerObserver, find_layers, keep_layers
from robustbench_wb.engine.measure import measure
from robustbench_wb.engine.perturbed_cache import PerturbedCache
from robustbench_wb.engine.plan import Ladder, SubjectPlan, TaskPlan
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.sample_choice import choose_samples
from robustbench_wb.engine.shortcuts import meets
from robustbench_wb.engine.subject import Subject
from robustbench_wb.engine.surrogates import Surrogates
from robustbench_wb.errors import MeasurementError, as_measurement_error
from robustbench_wb.layers.drift import LayerPair
from robustbench_wb.layers.table import LayerTable
from robustbench_wb.models.backbone import Transformer
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.progress import JobTrackingProgress
from robustbench_wb.records.record import Cell, Identity, Measurement, Record, State, SubjectCard
from robustbench_wb.spec import digest
from robustbench_wb.stressors.model_free import ModelFreeStressor
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.stressors.training_contamination import TrainingContamination
from robustbench_wb.tasks.task import Dataset

_log = logging.getLogger(__name__)
_NO_SUBJECT = SubjectCard(parameters=0, weights="", train_seconds=0.0, trained=False)


class RecordKeeper(Protocol):
    """Where records are kept; the store implements it."""

    def find(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """The records among ``keys`` that exist."""
        ...

    def append(self, record: Record) -> None:
        """Keep a record durably before returning."""
        ...


class NoRecords:
    """A ledger that finds nothing and keeps nothing: for what is measured beside the results."""

    def find(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """None of them."""
        return {}

    def append(self, record: Record) -> None:
        """Nothing: records are among the cells that come back."""


@dataclass(frozen=True)
class LadderStep:
    """The cells that are measured together."""

    rungs: tuple[Stressor, ...]
    identities: tuple[Identity, ...]


class Bench:
    """One task, ready to have subjects measured on it."""

    def __init__(
        self,
        job: PreparedRun,
        ledger: RecordKeeper,
        task: TaskPlan,
        dataset: Dataset,
        progress: JobTrackingProgress,
        costs: Mapping[str, SampleCost],
    ) -> None:
        self.job, self.ledger, self.task, self.dataset = job, ledger, task, dataset
        self.progress, self.costs = progress, costs
        self.samples = choose_samples(dataset, job.plan.samples)
        self.samples_digest = digest(self.samples.ids.tolist())
        self.known: Mapping[str, Record] = {}
        self.clean_layers: LayerTable | None = None
        self.batches: WeakKeyDictionary[Subject, BatchSize] = WeakKeyDictionary()
        self.surrogates = Surrogates(task.surrogates, lambda plan: job.obtain(plan, dataset, progress))
        self.subject: Subject | None = None
        self.probe: Probe | None = None
        self.evidence: Mapping[str, float] = {}

    def ladders(self, plan: SubjectPlan) -> tuple[Ladder, ...]:
        """What a subject is measured under; the first is the clean cell."""
        return tuple(ladder for ladder in self.task.ladders if meets(plan, ladder))

    def measure(
        self, plan: SubjectPlan, chosen: Callable[[Ladder], bool]
    ) -> Iterator[tuple[Ladder, list[Measurement]]]:
        """Measure the clean cell of one subject and then every ladder that is ``chosen``, asked when its turn comes.

        Without a subject, or without its clean cell, all others are errors.
        """
        first, *attacks = ladders = self.ladders(plan)
        self.subject, self.evidence, self.probe = None, {}, choose_probe(ladders)
        try:
            with (
                as_measurement_error(plan.name),
                self.progress.piece(training_seconds(plan, self.dataset, self.cost(plan))),
            ):
                subject = self.surrogates.subject(plan)
        except MeasurementError as error:
            _log.debug("no subject", exc_info=True)
            yield from ((ladder, self._failed(plan, ladder, _NO_SUBJECT, str(error))) for ladder in ladders)
            return
        self.subject, self.samples = subject, choose_samples(subject.dataset, self.job.plan.samples)
        self.known = self._known(subject)
        self.clean_layers = None
        (clean,) = self._climb(plan, subject, first, None)
        yield first, [clean]
        if clean.record is None:
            why = f"the clean cell failed: {clean.error}"
            yield from ((ladder, self._failed(plan, ladder, subject.card, why)) for ladder in attacks)
            return
        if self.probe is not None:
            self.evidence = self._probed(plan, subject, self.probe, clean.record.states)
        for ladder in attacks:
            if chosen(ladder):
                yield ladder, self._attack(plan, subject, ladder, clean.record.states)

    def _attack(
        self, plan: SubjectPlan, subject: Subject, ladder: Ladder, before: NDArray[np.int8]
    ) -> list[Measurement]:
        lacking = self.surrogates.lacking(ladder)
        if lacking:
            return self._failed(plan, ladder, subject.card, lacking)
        if isinstance(ladder.rungs[0], TrainingContamination):
            return list(self._retrain(plan, ladder, before))
        return list(self._climb(plan, subject, ladder, before))

    def is_apart(self, ladder: Ladder) -> bool:
        """Whether another process could measure a ladder of the subject at hand, and has anything to measure.

        Whatever trains is left to one process, with all its threads: their number moves the last bits of weights.
        """
        if (
            self.subject is None
            or isinstance(ladder.rungs[0], TrainingContamination)
            or self.surrogates.lacking(ladder)
        ):
            return False
        keys = [identity.key for step in self.steps(self.subject, ladder) for identity in step.identities]
        return any(key not in self.known for key in keys)

    def cost(self, plan: SubjectPlan) -> SampleCost:
        """Seconds of one sample, as the forecast has them."""
        return self.costs.get(plan.name, FREE)

    def _shelf(self) -> PerturbedCache:
        return PerturbedCache(self.samples, self.dataset.digest, self.job.plan.seed, self.job.device, self.job.progress)

    def _retrain(self, plan: SubjectPlan, ladder: Ladder, before: NDArray[np.int8]) -> Iterator[Measurement]:
        """Each rung on a subject of its own, that is trained on what the rung makes of the training split."""
        for rung in ladder.rungs:
            alone = Ladder((rung,))
            try:
                with (
                    as_measurement_error(rung.name),
                    self.progress.piece(training_seconds(plan, self.dataset, self.cost(plan))),
                ):
                    subject = self.job.retrain(plan, self.dataset, cast("TrainingContamination", rung), self.progress)
            except MeasurementError as error:
                _log.debug("no contaminated subject", exc_info=True)
                yield from self._failed(plan, alone, _NO_SUBJECT, str(error))
                continue
            keys = [identity.key for step in self.steps(subject, alone) for identity in step.identities]
            self.known = {**self.known, **self.ledger.find(keys)}
            yield from self._climb(plan, subject, alone, before)

    def _known(self, subject: Subject) -> Mapping[str, Record]:
        """Every stored record of a subject, in one look: a store on Delta is asked once, not once per cell."""
        own = [ladder for ladder in self.task.ladders if not isinstance(ladder.rungs[0], TrainingContamination)]
        ladders = [ladder for ladder in own if not self.surrogates.lacking(ladder)]
        steps = [step for ladder in ladders for step in self.steps(subject, ladder)]
        keys = [identity.key for step in steps for identity in step.identities]
        if self.probe is not None:
            keys.append(self._identity(subject, self.probe, ()).key)
        return self.ledger.find(keys)

    def _probed(
        self, plan: SubjectPlan, subject: Subject, probe: Probe, before: NDArray[np.int8]
    ) -> Mapping[str, float]:
        """The evidence of the probe, found or made; nothing where it failed, which costs the rows their A."""
        identity, count = self._identity(subject, probe, ()), len(self.samples)
        before = before.copy()
        before[np.flatnonzero(before == State.ROBUST)[probe.looked_at :]] = State.NOT_RUN
        if identity.key in self.known:
            return self.known[identity.key].evidence
        try:
            with (
                as_measurement_error(probe.name),
                self.job.progress.stage(f"{plan.name} {probe.name}", count, "samples") as advance,
            ):
                step, batch = ((probe,), (identity,)), self._batch(subject)
                (record,) = measure(subject.model, *step, self.samples, before, self.job.device, batch, advance)
        except MeasurementError as error:
            _log.warning("%s: not graded above B: %s", plan.name, error)
            return {}
        if not record.count(State.ERRORED):
            self.ledger.append(record)
        return record.evidence

    def graded(self, cells: Sequence[Measurement], evidence: Mapping[str, float]) -> list[Measurement]:
        """The cells of one subject, each adversarial one with its grade; ``evidence`` is what its probe has found."""
        rungs = {rung.signature: rung for ladder in self.task.ladders for rung in ladder.rungs}
        found = [
            GradedCell(rungs[cell.identity.signature], cell.record) if cell.identity and cell.record else None
            for cell in cells
        ]
        rows = [outcome for outcome in found if outcome is not None and outcome.stressor.kind is not None]
        return [
            replace(cell, credibility=grade(row, rows, evidence)) if row in rows else cell
            for cell, row in zip(cells, found, strict=True)
        ]

    def steps(self, subject: Subject, ladder: Ladder) -> list["LadderStep"]:
        """The parts of a ladder that are measured one after the other: all rungs at once, or each after the last."""
        names = tuple(stressor.strength for stressor in ladder.rungs)
        if ladder.rungs[0].sweeps and len(names) > 1:
            return [LadderStep(ladder.rungs, tuple(self._identity(subject, rung, names) for rung in ladder.rungs))]
        adversarial = ladder.rungs[0].adversarial()
        before = [names[:level] if adversarial else () for level in range(len(names))]
        return [
            LadderStep((rung,), (self._identity(subject, rung, done),))
            for rung, done in zip(ladder.rungs, before, strict=True)
        ]

    def _climb(
        self, plan: SubjectPlan, subject: Subject, ladder: Ladder, before: NDArray[np.int8] | None
    ) -> Iterator[Measurement]:
        """Measure one stressor at ascending strengths; what a lower strength broke is not tried again."""
        for step in self.steps(subject, ladder):
            cells = [self.cell(plan, rung) for rung in step.rungs]
            try:
                with self.progress.piece(ladder_seconds(Ladder(step.rungs), len(self.samples), self.cost(plan))):
                    measured = self._measure(cells, step, subject, before)
            except MeasurementError as error:
                _log.debug("cell failed", exc_info=True)
                for cell, identity in zip(cells, step.identities, strict=True):
                    yield Measurement(cell, identity, subject.card, None, False, len(self.samples), str(error))
                continue
            yield from measured
            last = measured[-1].record
            if ladder.rungs[0].adversarial() and last is not None:
                before = last.states

    def _measure(
        self, cells: list[Cell], step: "LadderStep", subject: Subject, before: NDArray[np.int8] | None
    ) -> list[Measurement]:
        """Find the records of a step or make them. A record with errored samples is shown but not kept.

        Where layers are asked for and not known, known cells are measured again, for their sake alone.
        """
        keys = [identity.key for identity in step.identities]
        found = [self.known[key] for key in keys if key in self.known]
        whole = len(found) == len(keys)
        wanted = self.job.request.layers and self._has_layers(subject)
        tables = [find_layers(key) if wanted and whole else None for key in keys]
        if not whole or (wanted and None in tables):
            made, tables = self._make(_label(cells), step, subject, before, wanted, not whole)
            found = found if whole else made
        return [
            self._measured(*entry, subject, whole, before is None)
            for entry in zip(cells, step.identities, found, tables, strict=True)
        ]

    def _make(
        self,
        label: str,
        step: "LadderStep",
        subject: Subject,
        before: NDArray[np.int8] | None,
        layers: bool,
        new: bool,
    ) -> tuple[list[Record], list[LayerTable | None]]:
        """Measure a step, and keep at once what is whole: records that are ``new``, and ``layers`` where asked for."""
        with as_measurement_error(step.rungs[0].name):
            surrogate = self.surrogates.model(step.rungs[0])
            batch = self._batch_beside(subject, self.surrogates.of(step.rungs[0]))
        looks = [LayerObserver() for _ in step.rungs] if layers else []
        rungs, content = step.rungs, ""
        if isinstance(rungs[0], ModelFreeStressor):
            shelved, content = self._shelf().take(rungs[0])
            rungs = (shelved,)
        with self.progress.stage(label, len(self.samples), "samples") as advance:
            cells = (rungs, step.identities, self.samples, before)
            records = measure(subject.model, *cells, self.job.device, batch, advance, looks, surrogate)
        records = [replace(record, perturbed=content) for record in records]
        tables = [look.table for look in looks] or [None] * len(records)
        for record, table in zip(records, tables, strict=True):
            if not record.count(State.ERRORED):
                if new:
                    self.ledger.append(record)
                if table is not None:
                    keep_layers(record.key, table)
        return records, tables

    def _measured(
        self,
        cell: Cell,
        identity: Identity,
        record: Record,
        table: LayerTable | None,
        subject: Subject,
        reused: bool,
        clean: bool,
    ) -> Measurement:
        count, errored = len(self.samples), record.count(State.ERRORED)
        problem = f"{errored} of {count} samples have logits or gradients that are not finite" if errored else ""
        layers = self._beside_clean(table, clean)
        return Measurement(cell, identity, subject.card, record, reused, count, problem, layers)

    def _batch_beside(self, subject: Subject, surrogate: Subject | None) -> BatchSize:
        """The same for a subject that is asked in turns with a surrogate."""
        batch = self._batch(subject)
        return batch if surrogate is None else batch.beside(self._batch(surrogate))

    def _batch(self, subject: Subject) -> BatchSize:
        """How many samples the subject is asked at once; found out when it is first needed."""
        if subject not in self.batches:
            wanted, device = self.job.request.batch, self.job.device
            self.batches[subject] = batch_for(wanted, subject.model, self.samples.inputs, device)
        return self.batches[subject]

    def _has_layers(self, subject: Subject) -> bool:
        with as_measurement_error("layers"):
            return isinstance(subject.model, Transformer)

    def _beside_clean(self, table: LayerTable | None, clean: bool) -> LayerPair | None:
        """The layers of a cell beside the clean ones of the same samples; the clean cell comes first."""
        if clean:
            self.clean_layers = table
        if table is None or self.clean_layers is None:
            return None
        return LayerPair(table if clean else self.clean_layers.select(table.ids), table)

    def _identity(self, subject: Subject, stressor: Stressor, ladder: tuple[str, ...]) -> Identity:
        # An adversary of texts takes its words from the training split.
        words = stressor.modality == "text"
        return Identity(
            signature=stressor.signature,
            ladder=ladder,
            stressor_code=self.surrogates.code(stressor),
            data=self.dataset.worded_digest if words else self.dataset.digest,
            samples=self.samples_digest,
            weights=subject.card.weights,
            model_code=subject.model_code,
            numerics=numerics(self.job.device),
            seed=self.job.plan.seed,
        )

    def cell(self, plan: SubjectPlan, stressor: Stressor) -> Cell:
        """The names of a measurement."""
        shape = self.dataset.shape
        return Cell(
            suite=self.job.plan.suite,
            suite_version=self.job.plan.suite_version,
            scale=self.job.plan.scale,
            task=self.dataset.label,
            variant=plan.name,
            size=plan.size,
            recipe=plan.recipe_name,
            stressor=stressor.label,
            strength=stressor.strength,
            seed=self.job.plan.seed,
            metric="perplexity" if shape.causal else "accuracy",
            protocol=stressor.protocol,
            classes=shape.classes,
            side=min(shape.height, shape.width) if isinstance(shape, ImageShape) else 0,
            family=self.task.family(stressor),
        )

    def _failed(self, plan: SubjectPlan, ladder: Ladder, card: SubjectCard, error: str) -> list[Measurement]:
        """Error rows for every cell of a ladder."""
        count = len(self.samples)
        return [Measurement(self.cell(plan, rung), None, card, None, False, count, error) for rung in ladder.rungs]


def _label(cells: Sequence[Cell]) -> str:
    first, strengths = cells[0], ", ".join(cell.strength for cell in cells)
    return " ".join(part for part in (first.variant, first.stressor, strengths) if part)
