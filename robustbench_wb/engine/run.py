"""Carrying out a plan: train or find each subject, measure or find each cell, keep every finished record at once."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_wb import rng
from robustbench_wb.engine.device import numerics
from robustbench_wb.engine.job import Prepared
from robustbench_wb.engine.look import Look, find_layers, keep_layers
from robustbench_wb.engine.measure import Samples, measure, one_line
from robustbench_wb.engine.plan import Ladder, SubjectPlan, TaskPlan
from robustbench_wb.engine.record import Cell, Identity, Measured, Record, State, SubjectCard
from robustbench_wb.engine.subject import Subject
from robustbench_wb.errors import MeasurementError
from robustbench_wb.layers.drift import LayerPair
from robustbench_wb.layers.table import LayerTable
from robustbench_wb.models.backbone import Transformer
from robustbench_wb.spec import digest
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.tasks.task import Dataset

_log = logging.getLogger(__name__)
_NO_SUBJECT = SubjectCard(parameters=0, weights="", train_seconds=0.0, trained=False)


class Ledger(Protocol):
    """Where records are kept; the store implements it."""

    def find(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """The records among ``keys`` that exist."""
        ...

    def append(self, record: Record) -> None:
        """Keep a record durably before returning."""
        ...


def measure_all(job: Prepared, ledger: Ledger) -> list[Measured]:
    """Every cell of the plan, in order. A cell that failed is in the list with its error; it never stops the others."""
    cells: list[Measured] = []
    with job.progress.overall(f"{job.plan.suite} suite", job.plan.cells) as advance:
        for task, dataset in zip(job.plan.tasks, job.datasets, strict=True):
            bench = _Bench(job, ledger, task, dataset)
            for subject in task.subjects:
                for cell in bench.cells(subject):
                    cells.append(cell)
                    advance(1)
    return cells


class _Bench:
    """One task, ready to have subjects measured on it."""

    def __init__(self, job: Prepared, ledger: Ledger, task: TaskPlan, dataset: Dataset) -> None:
        self.job, self.ledger, self.task, self.dataset = job, ledger, task, dataset
        self.samples = choose_samples(dataset, job.plan.samples)
        self.data_digest = dataset.test.digest()
        self.samples_digest = digest(self.samples.ids.tolist())
        self.known: Mapping[str, Record] = {}
        self.clean_layers: LayerTable | None = None

    def cells(self, plan: SubjectPlan) -> Iterator[Measured]:
        """Measure every cell of one subject. Without a subject, or without its clean cell, all others are errors."""
        first, *attacks = self.task.ladders
        try:
            with one_line(plan.name):
                subject = self.job.obtain(plan, self.dataset)
        except MeasurementError as error:
            _log.debug("no subject", exc_info=True)
            yield from self._failed(plan, self.task.ladders, _NO_SUBJECT, str(error))
            return
        self.samples = choose_samples(subject.dataset, self.job.plan.samples)
        self.known = self._known(subject)
        self.clean_layers = None
        (clean,) = self._climb(plan, subject, first, None)
        yield clean
        if clean.record is None:
            yield from self._failed(plan, attacks, subject.card, f"the clean cell failed: {clean.error}")
            return
        for ladder in attacks:
            yield from self._climb(plan, subject, ladder, clean.record.states)

    def _known(self, subject: Subject) -> Mapping[str, Record]:
        """Every stored record of a subject, in one look: a store on Delta is asked once, not once per cell."""
        keys = []
        for ladder in self.task.ladders:
            done: tuple[str, ...] = ()
            for stressor in ladder.rungs:
                keys.append(self._identity(subject, stressor, done).key)
                done = (*done, stressor.strength) if stressor.adversarial() else done
        return self.ledger.find(keys)

    def _climb(
        self, plan: SubjectPlan, subject: Subject, ladder: Ladder, before: NDArray[np.int8] | None
    ) -> Iterator[Measured]:
        """Measure one stressor at ascending strengths; what a lower strength broke is not tried again."""
        done: list[str] = []
        for stressor in ladder.rungs:
            identity = self._identity(subject, stressor, tuple(done))
            cell = self._cell(plan, stressor)
            try:
                measured, record = self._measure(cell, identity, subject, stressor, before)
            except MeasurementError as error:
                _log.debug("cell failed", exc_info=True)
                yield Measured(cell, identity, subject.card, None, False, len(self.samples), str(error))
                continue
            yield measured
            if stressor.adversarial():
                before = record.states
                done.append(stressor.strength)

    def _measure(
        self,
        cell: Cell,
        identity: Identity,
        subject: Subject,
        stressor: Stressor,
        before: NDArray[np.int8] | None,
    ) -> tuple[Measured, Record]:
        """Find the record of a cell or make it. A record with errored samples is shown but not kept.

        Where layers are asked for and not known, a cell whose record is known is measured again, for their sake alone.
        """
        count = len(self.samples)
        found = self.known.get(identity.key)
        wanted = self.job.request.layers and self._has_layers(subject)
        kept = find_layers(identity.key) if wanted and found is not None else None
        if found is not None and (kept is not None or not wanted):
            layers = self._beside_clean(kept, before is None)
            return Measured(cell, identity, subject.card, found, True, count, layers=layers), found
        with one_line(stressor.name):
            model = subject.model
        batch, device = self.job.request.batch, self.job.device
        label = " ".join(part for part in (cell.variant, stressor.name, cell.strength) if part)
        look = Look() if wanted else None
        with self.job.progress.stage(label, count, "samples") as advance:
            record = measure(model, stressor, identity, self.samples, before, device, batch, advance, look)
        table = look.table if look is not None else None
        errored = record.count(State.ERRORED)
        problem = f"{errored} of {count} samples have logits or gradients that are not finite" if errored else ""
        if not errored:
            if found is None:
                self.ledger.append(record)
            if table is not None:
                keep_layers(identity.key, table)
        layers = self._beside_clean(table, before is None)
        if found is not None:
            return Measured(cell, identity, subject.card, found, True, count, layers=layers), found
        return Measured(cell, identity, subject.card, record, False, count, problem, layers), record

    def _has_layers(self, subject: Subject) -> bool:
        with one_line("layers"):
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
            stressor_code=stressor.code(),
            data=digest([self.data_digest, self.samples.lexicon.words]) if words else self.data_digest,
            samples=self.samples_digest,
            weights=subject.card.weights,
            model_code=subject.model_code,
            numerics=numerics(self.job.device),
            seed=self.job.plan.seed,
        )

    def _cell(self, plan: SubjectPlan, stressor: Stressor) -> Cell:
        return Cell(
            suite=self.job.plan.suite,
            suite_version=self.job.plan.suite_version,
            scale=self.job.plan.scale,
            task=self.dataset.label,
            variant=plan.name,
            size=plan.size,
            recipe=plan.recipe_name,
            stressor=stressor.signature.split(";")[0],
            strength=stressor.strength,
            seed=self.job.plan.seed,
            metric="perplexity" if self.dataset.shape.causal else "accuracy",
        )

    def _failed(
        self, plan: SubjectPlan, ladders: Iterable[Ladder], card: SubjectCard, error: str
    ) -> Iterator[Measured]:
        """Error rows for every cell of some ladders."""
        for ladder in ladders:
            for stressor in ladder.rungs:
                yield Measured(self._cell(plan, stressor), None, card, None, False, len(self.samples), error)


def choose_samples(dataset: Dataset, count: int | None) -> Samples:
    """The first ``count`` samples of a fixed random order of the test split (None: all), sorted by id.

    The order depends on the size of the split alone, so that a larger count contains every smaller one.
    """
    total = len(dataset.test)
    ids = np.arange(total, dtype=np.int32)
    if count is not None and count < total:
        chosen = rng.permutation(total, 0, "evaluated-samples")[:count]
        ids = torch.sort(chosen).values.numpy().astype(np.int32)
    test = dataset.test
    return Samples(
        ids=ids,
        inputs=np.asarray(test.inputs[ids]),
        labels=test.labels[ids],
        language=dataset.shape.causal,
        texts=[test.texts[row] for row in ids.tolist()] if test.texts else (),
        tokenizer=dataset.tokenizer,
        lexicon=dataset.lexicon,
    )
