"""The only writer of a run: it joins the results of shards to cells, and keeps them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from robustbench_wb.engine.held_records import HeldRecords
from robustbench_wb.engine.record_keeper import RecordKeeper
from robustbench_wb.engine.run_log import RunLog, evaluation_facts
from robustbench_wb.engine.schedule import Model
from robustbench_wb.engine.shard import CellPart, Place, Shard, join
from robustbench_wb.engine.stopping import LadderParts, Looks, StoppingRule
from robustbench_wb.engine.task_context import TaskContext
from robustbench_wb.records.record import Measurement, State


class ResultWriter:
    """Joins the parts of each cell, and keeps each new record as soon as all its samples are there.

    Until then the parts are kept, so that a run that is killed loses only shards that were not finished. Executors
    return results and keep none. The parts of a stopped cell stay: a later run that needs more samples finds them.

    Args:
        keeper: where records and parts are kept.
        contexts: the tasks of the run.
        log: told of each cell that is finished now; None: nobody is told.
        rule: decides when the samples of a cell are enough; None: every cell gets all samples.
        drop: called with each ladder that is stopped, whose shards need not be measured any more.
    """

    def __init__(
        self,
        keeper: RecordKeeper,
        contexts: Sequence[TaskContext],
        log: RunLog | None = None,
        *,
        rule: StoppingRule | None = None,
        drop: Callable[[Place], None] = lambda place: None,
    ) -> None:
        self._keeper, self._contexts, self._log = keeper, contexts, log
        self._rule, self._drop = rule, drop
        self._looks: dict[Model, Looks] = {}
        self._parts: dict[Place, LadderParts] = {}
        self._shards: defaultdict[Shard, list[CellPart]] = defaultdict(list)
        self._whole: defaultdict[Place, dict[int, Measurement]] = defaultdict(dict)
        self._held = HeldRecords()
        self._cells: defaultdict[Place, dict[int, Measurement]] = defaultdict(dict)

    def write(self, parts: Iterable[CellPart]) -> None:
        """Take results as they come. A record with errored samples is not kept: a later run measures it again."""
        for part in parts:
            samples = len(self._contexts[part.shard.task].samples)
            if part.shard.stop - part.shard.first == samples:
                self._finish(part.shard.place, {part.rung: part.measurement})
            else:
                self._take_part(part, samples)
            if self._rule is not None:
                self._look(part.shard.model, self._rule)

    def _take_part(self, part: CellPart, samples: int) -> None:
        """Keep a part, and finish its ladder if nothing is missing."""
        place = part.shard.place
        self._keep_part(part)
        if place not in self._parts:
            self._parts[place] = LadderParts(self._rungs(place))
        known = self._parts[place].add(part)
        if sum(one.shard.stop - one.shard.first for one in known) == samples:
            self._whole[place][part.rung] = join(known)
            # The last shard completes all rungs, one right after the other: one commit is enough.
            if len(self._whole[place]) == self._rungs(place):
                del self._parts[place]
                self._finish(place, self._whole.pop(place))

    def _look(self, model: Model, rule: StoppingRule) -> None:
        """Stop the ladders of a model that are decided, if enough samples are measured for the next looks."""
        context = self._contexts[model[0]]
        looks = self._looks.setdefault(model, Looks(context, rule))
        places = [(*model, number) for number in range(len(context.ladders(context.subjects[model[1]])))]
        while True:
            finished = [cell for place in places for cell in self.cells(place)]
            unfinished = {place[2]: self._parts[place] for place in places if place in self._parts}
            ready = all(place in self._parts or len(self._cells[place]) == self._rungs(place) for place in places)
            stopped = looks.stopped(finished, unfinished, ready=ready)
            if stopped is None:
                return
            for number, cells in stopped.items():
                place = (*model, number)
                del self._parts[place]
                self._finish(place, dict(enumerate(map(self._reused, cells))))
                self._drop(place)

    def _reused(self, cell: Measurement) -> Measurement:
        """A stopped cell, with its stored record if a run has stopped it there before."""
        found = self._keeper.find([cell.record.key]) if cell.record is not None else {}
        return cell if cell.record is None or not found else replace(cell, record=found[cell.record.key], reused=True)

    def cells(self, place: Place) -> list[Measurement]:
        """The finished cells of a ladder, by strength."""
        return [cell for _, cell in sorted(self._cells[place].items())]

    def _finish(self, place: Place, cells: Mapping[int, Measurement]) -> None:
        """Keep the new records of some cells of a ladder, by rung, in one commit; then its parts are not needed."""
        records = {rung: cell.record for rung, cell in cells.items() if cell.record is not None}
        new = [rung for rung, record in records.items() if not cells[rung].reused and not record.count(State.ERRORED)]
        # Another run may have kept its record of a cell first: rows are made of what is kept.
        records |= zip(new, self._keeper.append(*(records[rung] for rung in new)), strict=True)
        for rung, cell in cells.items():
            record = records.get(rung)
            self._cells[place][rung] = cell if record is None else replace(cell, record=self._held.hold(record))
            if self._log is not None and not cell.reused:
                self._log.write("evaluation", evaluation_facts(self._contexts, place, cell))
        self._forget_parts(place)

    def _keep_part(self, part: CellPart) -> None:
        """Keep the results of a shard once those of all its rungs have come, if nothing failed."""
        if part.stored:
            return
        found = self._shards[part.shard]
        found.append(part)
        if len(found) < self._rungs(part.shard.place):
            return
        del self._shards[part.shard]
        records = [one.measurement.record for one in sorted(found, key=lambda one: one.rung)]
        whole = [record for record in records if record is not None and not record.count(State.ERRORED)]
        if len(whole) == len(records):
            self._keeper.append_part((part.shard.first, part.shard.stop), whole)

    def _forget_parts(self, place: Place) -> None:
        """Remove the parts of a ladder when all its cells are finished; they stay if one failed."""
        cells = self.cells(place)
        records = [cell.record for cell in cells if cell.record is not None and not cell.error]
        if len(records) == self._rungs(place):
            self._keeper.remove_parts([record.key for record in records])

    def _rungs(self, place: Place) -> int:
        task, subject, ladder = place
        return len(self._contexts[task].ladder(subject, ladder).rungs)
