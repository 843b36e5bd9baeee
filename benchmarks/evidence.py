"""Evidence: all evaluations of an experiment file, measured in sessions of limited time, and published in parts.

    RBWB_DATA_DIR=DIR nox -s evidence -- --hours 8

The order of the file is the order of the work. A step is one model on one task, with one recipe and one seed, under the
suites of one entry of the file; a finished step is a version of the score table of its task in ``work``. A session
takes unfinished steps until its hours are over, finishes the step in flight, and then writes one baseline file per
task. At last it forecasts all other steps, which takes minutes, and writes the status page. A killed session leaves its
records, and the next one continues there. A step whose evaluations are all in the committed tables is not measured
again, so that a fresh clone continues, too; to measure it anew, delete the table. ``--hours 0`` publishes only.
With ``--task``, sessions for different tasks can share a machine and its folders at the same time.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from evidence_page import Place, Published, Step, place_of, status_page

from robustbench_wb import read_experiment, run, vacuum
from robustbench_wb.engine.experiment import Experiment, Selection
from robustbench_wb.engine.forecast_runs import forecast_runs
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.errors import ExitCode, HarnessError, UsageError
from robustbench_wb.progress import SilentProgress
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.baseline import SUFFIX, make_baseline, read_baseline, write_baseline
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.tasks.task import Dataset

HERE = "results/evidence"
MAX_BYTES = 60_000_000
"""Most bytes that all published tables may have together."""
COMMAND = "nox -s evidence"


def steps_of(experiment: Experiment) -> list[Step]:
    """Steps of each entry of the file, in order. A combination belongs to the first entry that has it."""
    left = dict.fromkeys(experiment.combinations)
    steps: list[Step] = []
    for axes in (experiment.axes, *(replace(experiment.axes, **entry.given) for entry in experiment.include)):
        found: dict[tuple[str, str, str, int], Step] = {}
        for one in Experiment(settings=experiment.settings, axes=axes).combinations:
            if one in left:
                del left[one]
                new = Step(task=one.task, variant=one.variant, recipe=one.recipe, seed=one.seed)
                place = (one.task, one.variant, one.recipe, one.seed)
                found.setdefault(place, new).suites.append(one.suite)
        steps += found.values()
    return steps


def of_step(experiment: Experiment, step: Step, suites: Iterable[str]) -> Experiment:
    """The experiment of one step alone, under some suites."""
    axes = Selection(
        tasks=(step.task,), variants=(step.variant,), recipes=(step.recipe,), suites=tuple(suites), seeds=(step.seed,)
    )
    return Experiment(settings=experiment.settings, axes=axes)


class Forecasts:
    """Forecasts of steps, each made once: evaluations, and seconds of what is missing.

    Args:
        experiment: the experiment that the steps are parts of.
        work: folder with the records of each task.
    """

    def __init__(self, experiment: Experiment, work: Path) -> None:
        self._experiment, self._work = experiment, work
        self._data: dict[str, dict[str, Dataset]] = {}

    def examine(self, steps: Iterable[Step]) -> None:
        """Forecast steps that have no forecast yet, the seeds of a model together. What cannot be run gets a reason."""
        models: dict[tuple[str, ...], dict[int, Step]] = {}
        for step in steps:
            if not (step.parts or step.refused):
                model = (step.task, step.variant, step.recipe, *step.suites)
                models.setdefault(model, {})[step.seed] = step
        for (task, *_), seeds in models.items():
            runs = [run for step in seeds.values() for run in self._runs(step)]
            if runs:
                store = RecordStore(str(self._work / task))
                for part in forecast_runs(runs, store, SilentProgress(), by_seed=True).parts:
                    seeds[part.seeds[0]].parts.append(part)

    def _runs(self, step: Step) -> Iterator[PreparedRun]:
        """Runs of a step, one per suite. The data of a task are loaded once."""
        loaded = self._data.setdefault(step.task, {})
        for suite in list(step.suites):
            try:
                (request,) = of_step(self._experiment, step, [suite]).requests
                yield PreparedRun(request, SilentProgress(), False, loaded=loaded)
            except HarnessError as error:
                step.refuse(suite, str(error))


def published_evaluations(target: Path) -> Counter[Place]:
    """Number of evaluations of each part in the tables of a folder, whichever machine measured them."""
    tables = [read_baseline(file) for file in sorted(target.glob(f"*{SUFFIX}"))]
    return Counter(place_of(row, row.seed) for table in tables for row in table.rows)


def measure(
    experiment: Experiment,
    steps: Sequence[Step],
    *,
    forecasts: Forecasts,
    published: Mapping[Place, int],
    work: Path,
    hours: float,
) -> None:
    """Measure steps with missing evaluations, one after the other. None begins once the hours are over."""
    end = time.monotonic() + hours * 3600
    for number, step in enumerate(steps, 1):
        if time.monotonic() >= end:
            return
        forecasts.examine([step])
        if all(published[place] >= cells for place, cells in step.places.items()):
            continue
        begun = time.monotonic()
        place = f"{number} of {len(steps)}, {step}"
        print(f"{time.strftime('%H:%M')} {place}: at most {step.seconds / 60:.1f} min", flush=True)
        try:
            done = run(of_step(experiment, step, step.suites), str(work / step.task), command=COMMAND)
        except HarnessError as error:
            step.stop(str(error))
            print(f"      stopped: {error}", flush=True)
            continue
        spent = time.monotonic() - begun
        told = f"{spent / 60:.1f} min" + (f", {spent / step.seconds:.0%} of the forecast" if step.seconds else "")
        print(f"      {told}: {done.measured} new evaluations, {done.reused} reused", flush=True)
        step.stop("")


def publish(place: str, target: Path, labels: Iterable[str]) -> Iterator[Published]:
    """Write the finished evaluations of a task to one baseline file for each name of its data.

    Rows that another machine measured stay, unless this one has a row of the same evaluation.
    """
    table = ScoreTable(place)
    rows = table.rows() if table.exists() else []
    for label in dict.fromkeys([*labels, *(row.task for row in rows)]):
        file = target / f"{label}{SUFFIX}"
        own = [row for row in rows if row.task == label]
        finished = {row.slot: row for row in own if row.status == "ok"}
        known: list[ScoreRow] = []
        records: dict[str, Record] = {}
        if file.exists():
            kept = read_baseline(file)
            known, records = list(kept.rows), dict(kept.records)
        merged = list(({row.slot: row for row in known} | finished).values())
        if merged and merged != known:
            records |= RecordStore(place).find([row.key for row in finished.values()])
            source = table.info(table.version())
            baseline = make_baseline(
                name=label,
                source=f"v{source.number}",
                rows=merged,
                records={row.key: records[row.key] for row in merged},
                provenance=source.provenance,
            )
            write_baseline(file, baseline)
            vacuum(place, days=1)  # each step merges its small files into larger ones
        yield Published(label=label, rows=merged, failed=[row for row in own if row.status != "ok"], file=file)


def session(given: argparse.Namespace) -> None:
    """One session: measure, publish, forecast the rest, write the status page."""
    experiment = read_experiment(given.experiment)
    target, work = Path(given.to), Path(given.work or Path(given.to) / "work")
    steps = steps_of(experiment)
    tasks = list(dict.fromkeys(step.task for step in steps))
    forecasts = Forecasts(experiment, work)
    if unknown := set(given.task) - set(tasks):
        raise UsageError(f"{given.experiment} has no task {', '.join(sorted(unknown))}; it has {', '.join(tasks)}")
    target.mkdir(parents=True, exist_ok=True)
    try:
        done = published_evaluations(target)
        chosen = [step for step in steps if not given.task or step.task in given.task]
        measure(experiment, chosen, forecasts=forecasts, published=done, work=work, hours=given.hours)
    finally:
        for task in tasks:
            size = sum(one.size for one in publish(str(work / task), target, []))
            print(f"published {task}: {size:,} bytes in {target}", flush=True)
    print("forecast of the other steps", flush=True)
    forecasts.examine(steps)
    labels = {task: [part.task for step in steps if step.task == task for part in step.parts] for task in tasks}
    published = {task: list(publish(str(work / task), target, labels[task])) for task in tasks}
    page = status_page(steps, published, experiment=given.experiment, settings=experiment.settings)
    page = page.replace(os.environ.get("RBWB_DATA_DIR") or "\0", "DATA_DIR")  # reasons name folders of this machine
    (target / "STATUS.md").write_text(page, encoding="utf-8")
    size = sum(one.size for tables in published.values() for one in tables)
    print(f"all tables: {size:,} bytes; status: {target / 'STATUS.md'}", flush=True)
    if size > MAX_BYTES:
        print(f"the tables have more than {MAX_BYTES:,} bytes: leave something out before they are committed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", nargs="?", default=f"{HERE}/experiment.toml", help="default: %(default)s")
    parser.add_argument("--hours", type=float, required=True, help="no step begins later; 0: only publish")
    parser.add_argument("--task", action="append", default=[], help="measure only steps of this task; can be repeated")
    parser.add_argument("--to", default=HERE, help="folder of the tables and the status page; default: %(default)s")
    parser.add_argument("--work", help="folder of records and score tables; default: work in that folder")
    parser.add_argument("--data-dir", help="mirror of datasets in hub layout; default: RBWB_DATA_DIR")
    given = parser.parse_args()
    if given.data_dir:  # no setting of a request, whose value would be published with the tables
        os.environ["RBWB_DATA_DIR"] = given.data_dir
    try:
        session(given)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
