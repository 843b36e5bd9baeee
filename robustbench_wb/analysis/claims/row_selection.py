"""Which rows a sentence is about."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from robustbench_wb.analysis.claims.sentence import ClaimSentence, ClaimsFile, NamedModel
from robustbench_wb.errors import UsageError
from robustbench_wb.records.names import variant_name
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.registry import suggest_names


class SelectedRows(NamedTuple):
    """The rows of one sentence."""

    sentence: ClaimSentence
    own: list[ScoreRow]
    """Of the subject, by seed."""
    other: list[ScoreRow]
    """The same cells of what it is compared with, in the same order and under the names of the subject; none for a
    level."""
    reason: str = ""
    """What is missing, if anything is."""
    cautions: tuple[str, ...] = ()


def select_rows(sentences: ClaimsFile, sides: Mapping[str | None, Sequence[ScoreRow]]) -> list[SelectedRows]:
    """Find the rows of every sentence; None is the side that is checked.

    Raises:
        UsageError: a sentence could mean several things, or its unit is not that of its cells.
    """
    members = {name: sentences.among(list(rows)) for name, rows in sides.items()}
    return [_choose(sentence, members) for sentence in sentences.claims]


def _choose(sentence: ClaimSentence, sides: Mapping[str | None, list[ScoreRow]]) -> SelectedRows:
    own, lacking = _rows(sentence, sentence.subject, sides)
    if lacking or sentence.than is None:
        if not lacking and len({row.seed for row in own}) > 1:
            raise UsageError(
                f"{sentence.text!r}: a level is that of one checkpoint; say which, like 'seed {own[0].seed}'"
            )
        return SelectedRows(sentence, own, [], lacking)
    other, lacking = _rows(sentence, sentence.than, sides, like=own[0])
    if lacking:
        return SelectedRows(sentence, own, [], lacking)
    if sentence.subject.seed is not None and sentence.than.seed is not None:
        other = [row.model_copy(update={"seed": sentence.subject.seed}) for row in other]
    return _beside(sentence, own, other)


def _rows(
    sentence: ClaimSentence, named: NamedModel, sides: Mapping[str | None, list[ScoreRow]], like: ScoreRow | None = None
) -> tuple[list[ScoreRow], str]:
    """The rows of one of the subjects, in the task and suite of ``like``; or what is missing."""
    rows = [row for row in sides[named.side] if like is None or (row.task, row.suite) == (like.task, like.suite)]
    if like is not None and any(row.scale == like.scale for row in rows if named.covers(row)):
        rows = [row for row in rows if row.scale == like.scale]
    own = [row for row in rows if named.covers(row)]
    if not own:
        known = sorted({variant_name(row) for row in rows})
        what = " ".join([named.name, named.recipe or "", "" if named.seed is None else f"seed {named.seed}"])
        return [], f"there is no {' '.join(what.split())}; {suggest_names(named.name, known)}"
    found = [row for row in own if any(sentence.covers(cell, row) for cell in sentence.cells)]
    for cell in sentence.cells:
        if not any(sentence.covers(cell, row) for row in own):
            return [], f"{named.name} has no cell {cell}; {suggest_names(cell, sorted({row.cell for row in own}))}"
    _unambiguous(sentence, named, found)
    return found, ""


def _unambiguous(sentence: ClaimSentence, named: NamedModel, rows: Sequence[ScoreRow]) -> None:
    for what in ("task", "suite", "scale", "protocol", "metric", "size", "recipe"):
        values = sorted({str(getattr(row, what)) for row in rows})
        if len(values) > 1:
            raise UsageError(f"{sentence.text!r}: {named.name} is there with {what} {' and '.join(values)}; name one")
    level = sentence.than is None
    units = {"accuracy": "percent" if level else "points", "perplexity": "perplexity" if level else "percent"}
    if sentence.limit and sentence.unit != units[rows[0].metric]:
        raise UsageError(f"{sentence.text!r}: its cells are of {rows[0].metric}; give {units[rows[0].metric]}")


def _beside(sentence: ClaimSentence, own: Sequence[ScoreRow], other: Sequence[ScoreRow]) -> SelectedRows:
    """The cells of both, by the seeds of both."""
    mine, theirs = _by_seed(own), _by_seed(other)
    seeds = [seed for seed in mine if seed in theirs]
    if not seeds:
        return SelectedRows(sentence, list(own), list(other))
    names = own[0].model_dump(include={"variant", "size", "recipe"})
    pairs: list[tuple[ScoreRow, ScoreRow]] = []
    for seed in seeds:
        alone = sorted(mine[seed].keys() ^ theirs[seed].keys())
        if alone:
            return SelectedRows(sentence, [], [], f"only one of the two has {', '.join(alone)} (seed {seed})")
        pairs += [(row, theirs[seed][cell].model_copy(update=names)) for cell, row in mine[seed].items()]
    left = sorted(mine.keys() ^ theirs.keys())
    cautions = (f"seed {', '.join(map(str, left))} of one of the two has no counterpart",) if left else ()
    return SelectedRows(sentence, [row for row, _ in pairs], [row for _, row in pairs], "", cautions)


def _by_seed(rows: Iterable[ScoreRow]) -> dict[int, dict[str, ScoreRow]]:
    found: dict[int, dict[str, ScoreRow]] = {}
    for row in sorted(rows, key=lambda row: row.seed):
        found.setdefault(row.seed, {})[row.cell] = row
    return found
