"""Status page of the evidence: what is published, what is missing, why, and what it would cost."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from robustbench_wb.engine.request import RunRequest
from robustbench_wb.records.run_forecast import PartForecast
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.forecast import seeds_text

Place = tuple[str, str, str, str, int]
"""Suite, data, model, recipe and seed of a part, as rows name them."""


@dataclass(kw_only=True)
class Step:
    """One model on one task, with one recipe and one seed, under several suites."""

    task: str
    variant: str
    recipe: str
    seed: int
    suites: list[str] = field(default_factory=list)
    """Suites that can be run."""
    parts: list[PartForecast] = field(default_factory=list)
    """Forecast of each suite, before the session."""
    refused: dict[str, str] = field(default_factory=dict)
    """Reasons why suites cannot be run."""
    reason: str = ""
    """Reason why the step stopped in this session."""
    taken: bool = False
    """Whether the session has taken the step."""

    def __str__(self) -> str:
        return f"{self.task} {self.variant} {self.recipe} seed {self.seed}"

    @property
    def seconds(self) -> float:
        """Forecast seconds of what is missing."""
        if self.taken:
            return 0.0
        return sum(1.0 if part.seconds is None else part.seconds for part in self.parts if part.stored < part.cells)

    def refuse(self, suite: str, reason: str) -> None:
        """Leave a suite out."""
        self.suites.remove(suite)
        self.refused[suite] = reason

    def stop(self, reason: str) -> None:
        """Note that the session has taken the step; the reason is empty if it was finished."""
        self.taken, self.reason = True, reason

    @property
    def places(self) -> dict[Place, int]:
        """Number of evaluations of each part."""
        return {place_of(part, self.seed): part.cells for part in self.parts}


def place_of(named: PartForecast | ScoreRow, seed: int) -> Place:
    return (named.suite, named.task, named.variant, named.recipe, seed)


@dataclass(frozen=True, kw_only=True)
class Published:
    """The published table of a task."""

    label: str
    """Name of the data."""
    rows: Sequence[ScoreRow]
    failed: Sequence[ScoreRow]
    """Rows that are not published, because their evaluation failed."""
    file: Path

    @property
    def size(self) -> int:
        """Bytes of the file; 0 if there is none yet."""
        return self.file.stat().st_size if self.file.exists() else 0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """State of some steps."""

    cells: int
    """Evaluations."""
    done: int
    """Evaluations that are published."""
    refused: int
    """Suites that cannot be run, whose evaluations are not counted."""
    seconds: float
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, steps: Sequence[Step], tables: Iterable[Published]) -> "Progress":
        counts: Counter[Place] = Counter()
        failed: dict[Place, str] = {}
        for table in tables:
            counts.update(place_of(row, row.seed) for row in table.rows)
            failed |= {place_of(row, row.seed): row.error for row in table.failed}
        wanted = {place: cells for step in steps for place, cells in step.places.items()}
        reasons = [reason for step in steps for reason in _reasons(step)]
        reasons += [f"{place[0]} failed: {failed[place]}" for place in wanted if place in failed]
        return cls(
            cells=sum(wanted.values()),
            done=sum(min(counts[place], cells) for place, cells in wanted.items()),
            refused=sum(len(step.refused) for step in steps),
            seconds=sum(step.seconds for step in steps),
            reasons=tuple(dict.fromkeys(reasons)),
        )

    @property
    def why(self) -> str:
        """Reason why evaluations are missing; empty if none is."""
        if self.reasons:
            return "; ".join(self.reasons)
        if self.done < self.cells:
            return "not begun" if self.done == 0 else "not finished"
        return "complete; this machine would measure it again: other code, weights or data" if self.seconds else ""

    @property
    def columns(self) -> tuple[str, str, str]:
        unknown = " or more" if self.refused else ""
        return (f"{self.done:,} of {self.cells:,}{unknown}", hours(self.seconds), self.why.replace("|", r"\|"))


def _reasons(step: Step) -> list[str]:
    refused = [f"{suite} cannot be run: {reason}" for suite, reason in step.refused.items()]
    untimed = [part.reason for part in step.parts if part.reason]
    return [*refused, *untimed, *([step.reason] if step.reason else [])]


def hours(seconds: float) -> str:
    """Hours with one digit; empty for none."""
    return f"{seconds / 3600:.1f}" if seconds else ""


def status_page(
    steps: Sequence[Step], published: Mapping[str, Sequence[Published]], *, experiment: str, settings: RunRequest
) -> str:
    """The status page, in Markdown.

    Args:
        steps: all steps of the experiment, in order.
        published: tables of each task.
        experiment: file of the experiment.
        settings: what all steps share.
    """
    tables = [table for found in published.values() for table in found]
    whole = Progress.of(steps, tables)
    size, rows = sum(table.size for table in tables), sum(len(table.rows) for table in tables)
    lines = [
        "# Status of the evidence",
        "",
        f"Written by `nox -s evidence` from `{experiment}` (scale {settings.scale}); do not edit it.",
        "",
        f"**{whole.done:,} of {whole.cells:,} evaluations are published** ({rows:,} rows, {size / 1e6:.1f} MB). "
        f"The missing ones take at most about {whole.seconds / 3600:.0f} hours on one core: a forecast in which no "
        "sample breaks.",
        *(
            [f"{whole.refused:,} suites of a model cannot be run here and are not counted: see below."]
            * bool(whole.refused)
        ),
        "",
        *_table(
            ("task", "table", "evaluations", "hours left", "MB", "bytes per row"),
            (
                _task_line(task, [step for step in steps if step.task == task], found)
                for task, found in published.items()
            ),
        ),
    ]
    for task, recipe in dict.fromkeys((step.task, step.recipe) for step in steps):
        own = [step for step in steps if (step.task, step.recipe) == (task, recipe)]
        heading = ("model", "seeds", "evaluations", "hours left", "missing because")
        lines += ["", f"## {task}, recipe {recipe}", "", *_table(heading, _model_lines(own, published[task]))]
    return "\n".join([*lines, ""])


def _task_line(task: str, steps: Sequence[Step], tables: Sequence[Published]) -> tuple[str, ...]:
    state = Progress.of(steps, tables)
    rows, size = sum(len(table.rows) for table in tables), sum(table.size for table in tables)
    files = ", ".join(f"`{table.file.name}`" for table in tables if table.size)
    return (task, files, *state.columns[:2], f"{size / 1e6:.2f}" if size else "", f"{size / rows:.0f}" if rows else "")


def _model_lines(steps: Sequence[Step], tables: Sequence[Published]) -> Iterable[tuple[str, ...]]:
    """A line for the seeds of each model that are in the same state."""
    for variant in dict.fromkeys(step.variant for step in steps):
        first = next(step.suites for step in steps if step.variant == variant)
        alike: dict[tuple[str, ...], list[Step]] = {}
        for step in (step for step in steps if step.variant == variant):
            state = Progress.of([step], tables)
            alike.setdefault((*step.suites, state.columns[0], state.why), []).append(step)
        for same in alike.values():
            suites = same[0].suites
            name = variant if suites == first else f"{variant}, {', '.join(suites)}"
            yield (name, seeds_text([step.seed for step in same]), *Progress.of(same, tables).columns)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heading, ["---"] * len(heading), *rows)]
