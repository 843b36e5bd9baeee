"""Selection of the score rows that a claim sentence is about."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from robustbench_wb.analysis.claims.sentence import ClaimSentence, ClaimsFile, NamedModel
from robustbench_wb.errors import UsageError
from robustbench_wb.records.names import variant_name
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.registry import suggest_names


class SelectedRows(NamedTuple):
    """Rows of one sentence."""

    sentence: ClaimSentence
    own: list[ScoreRow]
    """Rows of the first model, by seed."""
    other: list[ScoreRow]
    """Rows of the second model: the cells of ``own`` in the same order, under the names of the first model. Empty if
    the sentence compares with a level."""
    reason: str = ""
    """What is missing; empty if the rows are complete."""
    cautions: tuple[str, ...] = ()


def select_rows(sentences: ClaimsFile, sides: Mapping[str | None, Sequence[ScoreRow]]) -> list[SelectedRows]:
    """Find the rows of every sentence.

    Args:
        sentences: the claims file.
        sides: tables by the name that sentences use; None is the table that is checked.

    Raises:
        UsageError: a sentence is ambiguous, or its unit does not fit the metric of its cells.
    """
    found, places = list[SelectedRows](), dict[tuple[str | None, ...], dict[str | None, list[ScoreRow]]]()
    for sentence in sentences.claims:
        place = (sentence.task, sentence.suite, sentence.scale)
        if place not in places:  # large tables are searched once for all sentences about a place
            places[place] = {name: sentence.among(rows) for name, rows in sides.items()}
        found.append(_select(sentence, places[place]))
    return found


def _select(sentence: ClaimSentence, sides: Mapping[str | None, list[ScoreRow]]) -> SelectedRows:
    own, lacking = _rows(sentence, sentence.subject, sides)
    if lacking or sentence.than is None:
        if not lacking and sentence.measure:
            own = _one_cell(sentence, own)
        elif not lacking and len({row.seed for row in own}) > 1:
            raise UsageError(
                f"{sentence.text!r}: a level is about one checkpoint; name its seed, like 'seed {own[0].seed}'"
            )
        return SelectedRows(sentence, own=own, other=[], reason=lacking)
    other, lacking = _rows(sentence, sentence.than, sides, like=own[0])
    if lacking:
        return SelectedRows(sentence, own=own, other=[], reason=lacking)
    if sentence.subject.seed is not None and sentence.than.seed is not None:
        other = [row.model_copy(update={"seed": sentence.subject.seed}) for row in other]
    return _paired(sentence, own, other)


def _rows(
    sentence: ClaimSentence, named: NamedModel, sides: Mapping[str | None, list[ScoreRow]], like: ScoreRow | None = None
) -> tuple[list[ScoreRow], str]:
    """Rows of one of the models, in the task and suite of ``like``; or what is missing."""
    rows = [row for row in sides[named.side] if like is None or (row.task, row.suite) == (like.task, like.suite)]
    if like is not None and any(row.scale == like.scale for row in rows if named.covers(row)):
        rows = [row for row in rows if row.scale == like.scale]
    own = [row for row in rows if named.covers(row)]
    if not rows and sentence.place:
        return [], f"the table has no rows of {sentence.place}"
    if not own:
        known = sorted({variant_name(row) for row in rows})
        what = " ".join([named.name, named.recipe or "", "" if named.seed is None else f"seed {named.seed}"])
        return [], f"there is no {' '.join(what.split())}; {suggest_names(named.name, known)}"
    found = [row for row in own if any(sentence.covers(cell, row) for cell in sentence.cells)]
    for cell in sentence.cells:
        if not any(sentence.covers(cell, row) for row in own):
            return [], f"{named.name} has no cell {cell}; {suggest_names(cell, sorted({row.cell for row in own}))}"
    _require_unambiguous(sentence, named, found)
    return found, ""


def _require_unambiguous(sentence: ClaimSentence, named: NamedModel, rows: Sequence[ScoreRow]) -> None:
    for what in ("task", "suite", "scale", "protocol", "metric", "size", "recipe"):
        values = sorted({str(getattr(row, what)) for row in rows})
        if len(values) > 1:
            raise UsageError(
                f"{sentence.text!r}: {named.name} has rows with {what} {' and '.join(values)}; name one of them"
            )
    if sentence.measure:
        return
    level = sentence.than is None
    units = {"accuracy": "percent" if level else "points", "perplexity": "perplexity" if level else "percent"}
    if sentence.limit and sentence.unit != units[rows[0].metric]:
        raise UsageError(
            f"{sentence.text!r}: the metric of its cells is {rows[0].metric}; give the limit in {units[rows[0].metric]}"
        )


def _one_cell(sentence: ClaimSentence, rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """Rows of a sentence about layers, by seed: one cell, as cells may have different samples."""
    cells = sorted({row.cell for row in rows})
    if len(cells) > 1:
        raise UsageError(f"{sentence.text!r}: layers are compared in one cell; name one of {', '.join(cells)}")
    return sorted(rows, key=lambda row: row.seed)


def _paired(sentence: ClaimSentence, own: Sequence[ScoreRow], other: Sequence[ScoreRow]) -> SelectedRows:
    """Common cells of both models, by the seeds that both have."""
    mine, theirs = _by_seed(own), _by_seed(other)
    seeds = [seed for seed in mine if seed in theirs]
    if not seeds:
        return SelectedRows(sentence, own=list(own), other=list(other))
    names = own[0].model_dump(include={"variant", "size", "recipe"})
    pairs: list[tuple[ScoreRow, ScoreRow]] = []
    for seed in seeds:
        alone = sorted(mine[seed].keys() ^ theirs[seed].keys())
        if alone:
            reason = f"only one of the two models has {', '.join(alone)} (seed {seed})"
            return SelectedRows(sentence, own=[], other=[], reason=reason)
        pairs += [(row, theirs[seed][cell].model_copy(update=names)) for cell, row in mine[seed].items()]
    left = sorted(mine.keys() ^ theirs.keys())
    cautions = (f"only one of the two models has seed {', '.join(map(str, left))}",) if left else ()
    return SelectedRows(sentence, own=[row for row, _ in pairs], other=[row for _, row in pairs], cautions=cautions)


def _by_seed(rows: Iterable[ScoreRow]) -> dict[int, dict[str, ScoreRow]]:
    found: dict[int, dict[str, ScoreRow]] = {}
    for row in sorted(rows, key=lambda row: row.seed):
        found.setdefault(row.seed, {})[row.cell] = row
    return found
