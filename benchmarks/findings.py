"""Findings: answers of the evidence to the questions of results/findings.toml, as docs/findings.md with a figure each.

    python benchmarks/findings.py [NAME ...] [--version results/evidence] [--to docs]

Every sentence, number and figure is made from the stored outcomes, so that no number is typed by hand. With names of
findings, their sections are printed and nothing is written. All comparisons of the file are corrected together, also
if only some are printed.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError, field_validator, model_validator

from robustbench_wb.analysis.claims.claims_result import CheckedClaim, ClaimVerdict
from robustbench_wb.analysis.claims.decide_claims import decide_claims, records_for_claims
from robustbench_wb.analysis.claims.row_selection import SelectedRows, select_rows
from robustbench_wb.analysis.claims.sentence import ClaimSentence, ClaimsFile, parse_sentence
from robustbench_wb.errors import ExitCode, HarnessError, UsageError
from robustbench_wb.invalid_fields import first_invalid_field
from robustbench_wb.layers.table import MEASURES
from robustbench_wb.report.claims import evidence_text
from robustbench_wb.report.comparison import unit_text
from robustbench_wb.report.figures.chart import Chart, ChartAxis, ChartPoint, ChartSeries
from robustbench_wb.report.figures.draw import draw_chart, figure_bytes
from robustbench_wb.spec import Spec
from robustbench_wb.store.loaded_table import find_records, load_table
from robustbench_wb.text_files import parse_toml, read_text, reason_of

QUESTIONS = "results/findings.toml"
EVIDENCE = "results/evidence"
WIDTH = 5.5
"""Width of a figure in inches."""
WORDS: dict[ClaimVerdict, str] = {"holds": "better", "refuted": "worse", "undecided": "not decided"}
"""Verdict about the sentence that a model is better, as the answer names it."""
LAYER_WORDS: dict[ClaimVerdict, str] = {"holds": "yes", "refuted": "no", "undecided": "not decided"}
"""Verdict about a sentence on layers, as the answer names it."""
COMMAND = "python benchmarks/findings.py"
FEWEST_SEEDS = 3
"""Smallest number of seeds for a number about an architecture: the interval of two spans almost everything."""


class Place(Spec):
    """Cells of a suite on a task."""

    task: str
    suite: str
    cells: str


class Question(Spec):
    """How some models compare with another one at some places, or what their layers do there."""

    name: str
    question: str
    than: str = ""
    """Model that the others are compared with; empty in a question about layers."""
    layers: str = ""
    """What is asked of the layers of each model, like ``a falling sparsity``: see docs/claims.md; empty in a comparison
    of models."""
    models: tuple[str, ...]
    places: tuple[Place, ...]
    in_readme: bool = False
    """Whether README tells the answer."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if re.fullmatch(r"[A-Za-z0-9_-]+", name) is None:
            raise ValueError(f"names a file: it has letters, digits, - and _ alone, not {name!r}")
        return name

    @model_validator(mode="after")
    def _check_kind(self) -> "Question":
        if bool(self.than) == bool(self.layers):
            raise ValueError("a question has either than or layers")
        return self

    @property
    def words(self) -> dict[ClaimVerdict, str]:
        """Verdicts as the answer names them."""
        return LAYER_WORDS if self.layers else WORDS

    @property
    def pairs(self) -> Iterator[tuple[str, Place]]:
        """Each model at each place, in the order of the comparisons."""
        for model in self.models:
            for place in self.places:
                yield model, place


class Questions(Spec):
    """Content of a file of questions."""

    scale: str
    findings: tuple[Question, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One model at one place: compared with the other model of the question, or what its layers do."""

    model: str
    place: Place
    checked: CheckedClaim

    @property
    def place_label(self) -> str:
        """Task and cells, like ``digits clean``."""
        cells = {"*@*": f"all of {self.place.suite}"}.get(self.place.cells, self.place.cells)
        return f"{self.place.task} {cells}"

    @property
    def label(self) -> str:
        """Model, task and cells, like ``crate, digits clean``."""
        return f"{short(self.model)}, {self.place_label}"

    @property
    def change(self) -> float:
        """Difference of the accuracies as a share, or value of the layers; 0 if it is not known."""
        return self.checked.evidence.worst if self.checked.evidence is not None else 0.0


def short(model: str) -> str:
    """Name of a model without its size and recipe, which all models share."""
    name, numbers, text = model.split(" ")[0].partition(";")
    return name.removesuffix("-nano") + numbers + text


def read_questions(file: str) -> tuple[str, tuple[Question, ...]]:
    """The scale of the evidence, and the questions of a file.

    Raises:
        UsageError: the file cannot be read, an entry is missing, unknown or of another type, or a name is given twice.
    """
    try:
        found = Questions.model_validate(parse_toml(read_text(file)))
    except ValidationError as error:
        raise UsageError(f"{file}: {first_invalid_field(error, Questions)}") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {reason_of(error)}") from error
    twice = [name for name, count in Counter(one.name for one in found.findings).items() if count > 1]
    if twice:
        raise UsageError(f"{file}: two findings have the name {twice[0]!r}")
    return found.scale, found.findings


def answer(questions: Sequence[Question], *, scale: str, version: str) -> dict[str, list[Answer]]:
    """Answers to each question, by its name: one test per model and place, with one correction over all of them.

    A number about an architecture needs several seeds: of fewer than ``FEWEST_SEEDS`` that both models have, only the
    first is kept, and the number is about that checkpoint.

    Raises:
        UsageError: a sentence of a question cannot be read, or could mean several things.
        StoreError: the table cannot be read.
    """
    pairs = [(one, model, place) for one in questions for model, place in one.pairs]
    table = load_table(version, EVIDENCE)

    def rows(seeds: Mapping[int, int | None]) -> list[SelectedRows]:
        found = (statement(*pairs[at], scale=scale, seed=seed) for at, seed in seeds.items())
        return select_rows(ClaimsFile(file="", claims=tuple(found)), {None: table.rows})

    chosen = rows(dict.fromkeys(range(len(pairs))))
    seeds = [sorted({row.seed for row in one.own}) for one in chosen]
    few = {at: own[0] for at, own in enumerate(seeds) if 0 < len(own) < FEWEST_SEEDS}
    for at, one in zip(few, rows(few), strict=True):
        chosen[at] = one
    found = iter(decide_claims(chosen, find_records([table], records_for_claims(chosen), EVIDENCE)).claims)
    return {
        one.name: [Answer(model=model, place=place, checked=next(found)) for model, place in one.pairs]
        for one in questions
    }


def statement(question: Question, model: str, place: Place, *, scale: str, seed: int | None) -> ClaimSentence:
    """What a question asks of a model at a place, with one seed or all that its models have."""
    only = "" if seed is None else f" seed {seed}"
    said = f"has {question.layers}" if question.layers else f"is better than {question.than}{only}"
    parsed = parse_sentence(f"{model}{only} {said} at {place.cells}")
    return parsed.model_copy(update={"task": place.task, "suite": place.suite, "scale": scale})


def sentence(question: Question, answers: Sequence[Answer]) -> str:
    """The answer in words: models by verdict with their places, and the largest number with its interval."""
    known = [one for one in answers if one.checked.evidence is not None]
    if not known:
        return "Not measured yet."
    told = []
    for verdict, word in question.words.items():
        chosen = [one for one in known if one.checked.verdict == verdict]
        than = f" than {short(question.than)}" if question.than and verdict != "undecided" else ""
        told += [f"{word}{than}: {models_text(question, chosen)}"] if chosen else []
    missing = [one for one in answers if one.checked.evidence is None]
    told += [f"not measured yet: {models_text(question, missing)}"] if missing else []
    decided = [one for one in known if one.checked.verdict != "undecided"] or known
    largest = max(decided, key=lambda one: abs(one.change))
    told_all, what = "; ".join(told), "difference" if question.than else "value"
    return f"{told_all[0].upper()}{told_all[1:]}. **Largest {what}: {largest.label}, {number_text(largest)}.**"


def models_text(question: Question, answers: Sequence[Answer]) -> str:
    """Models with their places, like ``crate (digits, fashion-mnist)``; the cells where a task has several places."""
    places = Counter(place.task for place in question.places)
    told: dict[str, list[str]] = {}
    for one in answers:
        place = one.place.task if places[one.place.task] == 1 else one.place_label
        told.setdefault(short(one.model), []).append(place)
    return ", ".join(f"{model} ({', '.join(own)})" for model, own in told.items())


def number_text(one: Answer) -> str:
    """Difference, or value of the layers, with its interval, sample count and seeds."""
    checked = one.checked
    unit = unit_text("architecture" if len(checked.seeds) > 1 else "checkpoint", checked.seeds)
    return f"{evidence_text(checked).removeprefix('difference ').split(', one-sided')[0]}, {unit}"


def chart(question: Question, answers: Sequence[Answer]) -> Chart:
    """Differences or values with their intervals, one line per model and place, and a dotted line at the limit."""
    shown = [one for one in answers if one.checked.evidence is not None]
    series = []
    for number, model in enumerate(question.models, start=1):
        points = tuple(_point(one, at) for at, one in enumerate(shown) if one.model == model)
        series.append(ChartSeries(number, short(model), points))
    return Chart(
        name=question.name,
        title=question.question,
        x=ChartAxis(label=axis_label(question, shown)),
        y=ChartAxis(label="", names=tuple(one.label for one in shown)),
        series=series,
        front=[ChartPoint(x=shown[0].checked.sentence.limit, y=end, text="") for end in (-0.5, len(shown) - 0.5)],
    )


def axis_label(question: Question, shown: Sequence[Answer]) -> str:
    """What a figure shows, with its unit."""
    if question.than:
        return f"accuracy minus that of {short(question.than)} (points)"
    sentence = shown[0].checked.sentence
    which = "last layer minus first" if sentence.relation in ("rising", "falling") else "decisive layer"
    which = which if sentence.layer is None else f"layer {sentence.layer}"
    return f"{MEASURES[sentence.measure]}, {which}{', minus its clean value' if sentence.drift else ''}"


def _point(one: Answer, row: int) -> ChartPoint:
    evidence = one.checked.evidence
    if evidence is None:
        raise ValueError("only measured answers are drawn")
    scale = 1 if one.checked.sentence.measure else 100
    low, high = (scale * (1 if end is None else end) for end in (evidence.low, evidence.high))
    return ChartPoint(x=scale * evidence.worst, y=row, text=one.label, x_ends=(low, high))


def table(question: Question, answers: Sequence[Answer]) -> Iterator[str]:
    """Lines of a Markdown table of all answers, and of the cautions below it."""
    yield f"| model | at | {'difference in points' if question.than else 'value'} [95 %] | verdict |"
    yield "|---|---|---|---|"
    for one in answers:
        checked = one.checked
        measured = checked.evidence is not None
        told = number_text(one) if measured else "not measured yet"
        verdict = question.words.get(checked.verdict, checked.verdict) if measured else ""
        yield f"| {short(one.model)} | {one.place_label} | {told} | {verdict} |"
    yield ""
    yield from (f"- Caution, {one.label}: {caution}" for one in answers for caution in one.checked.cautions)


def section(number: int, question: Question, answers: Sequence[Answer]) -> str:
    """Section of the page about one question."""
    known = any(one.checked.evidence is not None for one in answers)
    lines = [f"## {number}. {question.question}", "", sentence(question, answers), ""]
    if known:
        lines += [f"![{question.question}](findings/{question.name}.svg)", "", *table(question, answers)]
    return "\n".join([*lines, f"`{COMMAND} {question.name}`", ""])


def page(sections: Iterable[str], found: Sequence[Answer], version: str) -> str:
    """The whole page."""
    known = sum(one.checked.evidence is not None for one in found)
    return "\n".join([
        "# Findings",
        "",
        f"Written by `{COMMAND}` from `{QUESTIONS}` and the outcomes of single samples in `{version}`; do not edit it.",
        f"Of {len(found)} statements {known} are measured. Comparisons of models are paired by sample; one correction",
        "(Holm, 5 %) covers all of them, so that a verdict has been held against all others. Where models have fewer",
        "than three seeds in common, a number is about the checkpoints of the first one alone. Layers are measured as",
        "[layer measures](layers.md) says.",
        "`results/evidence/STATUS.md` says what is missing, and why.",
        "",
        *sections,
    ])  # fmt: skip


def sections_of(questions: Sequence[Question], answers: Mapping[str, Sequence[Answer]]) -> dict[str, str]:
    """Section of the page about each question, by its name."""
    return {one.name: section(number, one, answers[one.name]) for number, one in enumerate(questions, start=1)}


def write_page(
    folder: str, questions: Sequence[Question], answers: Mapping[str, Sequence[Answer]], *, version: str
) -> None:
    """Write the page and its figures to a folder."""
    figures = Path(folder, "findings")
    figures.mkdir(parents=True, exist_ok=True)
    for one in questions:
        if any(found.checked.evidence is not None for found in answers[one.name]):
            drawn = draw_chart(chart(one, answers[one.name]), width=WIDTH, title=False)
            figures.joinpath(f"{one.name}.svg").write_bytes(figure_bytes(drawn, "svg"))
    every = [found for one in answers.values() for found in one]
    text = page(sections_of(questions, answers).values(), every, version)
    Path(folder, "findings.md").write_text(text, encoding="utf-8")


def main() -> int:
    """Print the named findings, or write the page and its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="findings to print; none writes the page")
    parser.add_argument("--questions", default=QUESTIONS)
    parser.add_argument("--version", default=EVIDENCE, help="table of the evidence; default: %(default)s")
    parser.add_argument("--to", default="docs", help="folder of the page and its figures; default: %(default)s")
    given = parser.parse_args()
    try:
        scale, questions = read_questions(given.questions)
        answers = answer(questions, scale=scale, version=given.version)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return ExitCode.USAGE
    sections = sections_of(questions, answers)
    unknown = [name for name in given.names if name not in sections]
    if unknown:
        print(f"there is no finding {unknown[0]!r}; there are {', '.join(sections)}", file=sys.stderr)
        return ExitCode.USAGE
    if given.names:
        print("\n".join(sections[name] for name in given.names))
        return ExitCode.OK
    write_page(given.to, questions, answers, version=given.version)
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
