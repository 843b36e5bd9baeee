"""Columns of a headline: which evaluations are combined, which column ranks, and which the first screen shows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from robustbench_wb.analysis.headline.headline import ColumnRule, HeadlineColumn
from robustbench_wb.analysis.row_order import CellKey, cell_key, strength_sort_key
from robustbench_wb.records.names import CUSTOM, cell_name
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stressors.text_constraint import CONSTRAINED, constraint_of
from robustbench_wb.stressors.threat_models import KINDS, ThreatModel, strength_name, threat_model
from robustbench_wb.suites.suite import SUITES

CLEAN: Final = "clean"
CONTROLS: Final = KINDS[:2]
"""Kinds that are too weak to show robustness."""
FEW_CELLS: Final = 3
"""Most evaluations of an axis that have a column each on the first screen."""
_LABELS: Final[Mapping[str, str]] = {
    "linf": "Linf",
    "l2": "L2",
    "l1": "L1",
    "l0": "L0",
    "embedding-linf": "vectors Linf",
    "embedding-l2": "vectors L2",
    "universal linf": "universal Linf",
    "random universal linf": "random universal Linf",
    "one-token words": "tokens",
}
"""Threat models in tables; others have their own name."""


@dataclass(frozen=True, kw_only=True)
class PlannedColumn:
    """A column, with the keys of its evaluations."""

    column: HeadlineColumn
    cells: tuple[CellKey, ...]
    attacks: tuple[CellKey, ...] = ()
    """Attacks among ``cells`` that decide the grade."""


def headline_columns(rows: Sequence[ScoreRow]) -> tuple[list[PlannedColumn], int]:
    """Columns of a panel, and the index of the column by which models are ranked.

    The column of a threat model and radius combines all attacks on it. Evaluations without attacks are averaged, all of
    one axis (severity, rate, length) and those of each strength. Models are ranked by the threat model or axis that the
    suite declares, or else by the threat model of the strongest kind of attack, or else by the axis with most
    evaluations. Within a threat model, the column is the largest radius at which its strongest kind of attack was run.

    Args:
        rows: rows of the models of one panel that were measured on the same cells.
    """
    signatures: dict[CellKey, str] = {}
    for row in sorted(rows, key=lambda row: not row.signature):
        signatures.setdefault(cell_key(row), row.signature or row.stressor)
    cells = list(dict.fromkeys(map(cell_key, rows)))
    accuracy = rows[0].metric == "accuracy"
    threats: dict[str, dict[CellKey, ThreatModel]] = {}
    axes: dict[str, list[CellKey]] = {}
    for cell in (cell for cell in cells if cell.stressor != CLEAN):
        threat = threat_model(signatures[cell]) if accuracy else None
        if threat is not None:
            threats.setdefault(threat.name, {})[cell] = threat
        else:
            axes.setdefault(strength_name(signatures[cell], cell.strength), []).append(cell)
    chosen = _main_group(threats, axes, rows[0].suite.partition(CUSTOM)[0])
    groups = [_threat_columns(name, members, chosen) for name, members in threats.items()]
    groups += [_axis_columns(name, members, chosen, several=len(axes) > 1) for name, members in axes.items()]
    order = sorted(zip((*threats, *axes), groups, strict=True), key=lambda entry: entry[0] != chosen)
    clean = [_column(CLEAN, "clean", [cell]) for cell in cells if cell.stressor == CLEAN]
    columns = [*clean, *(column for _, group in order for column in group)]
    if not order:
        return columns, 0
    return columns, len(clean) + _main_of(order[0][1], threats.get(order[0][0]))


def _main_group(
    threats: Mapping[str, Mapping[CellKey, ThreatModel]], axes: Mapping[str, Sequence[CellKey]], suite: str
) -> str | None:
    """Threat model or axis that ranks; None if there are only unperturbed inputs."""
    declared = SUITES.get(suite).headline if suite in SUITES.names() else ""
    if declared in threats or declared in axes:
        return declared
    if threats:
        return max(threats, key=lambda name: _strongest(threats[name].values()))
    return max(axes, key=lambda name: len(axes[name]), default=None)


def _strongest(members: Iterable[ThreatModel]) -> int:
    return max(KINDS.index(member.kind) for member in members)


def _main_of(columns: Sequence[PlannedColumn], threat: Mapping[CellKey, ThreatModel] | None) -> int:
    """Index of the column that ranks, within its group: the mean, or the largest radius of the strongest attack."""
    if threat is None:
        return 0
    best = _strongest(threat.values())
    return max(
        at
        for at, planned in enumerate(columns)
        if any(KINDS.index(threat[cell].kind) == best for cell in planned.cells)
    )


def _label(threat: str) -> str:
    """Name of a threat model in tables, which does not repeat what a constraint is."""
    name, comma, _ = threat.partition(", ")
    return f"{CONSTRAINED} {_LABELS.get(name, name)}" if comma else _LABELS.get(name, name)


def _threat_columns(name: str, members: Mapping[CellKey, ThreatModel], chosen: str | None) -> list[PlannedColumn]:
    """A column per radius, ascending. The first screen shows the one that ranks and the radius below it, of other
    threat models the middle radius. A constraint on texts makes no other threat model there: both are read together."""
    radii: dict[str, list[CellKey]] = {}
    for cell in sorted(members, key=lambda cell: strength_sort_key(cell.strength)):
        radii.setdefault(cell.strength, []).append(cell)
    columns = []
    constraint = name.partition(", ")[2] or constraint_of(next(iter(members)).stressor)
    for strength, cells in radii.items():
        real = [cell for cell in cells if members[cell].kind not in CONTROLS]
        attacks = real or [cell for cell in cells if KINDS.index(members[cell].kind) == _strongest(members.values())]
        planned = _column(f"{_label(name)} {strength}".strip(), "joint", cells, attacks=attacks or cells)
        columns.append(_changed(planned, constraint=constraint))
    main = _main_of(columns, members)
    same = chosen is not None and name.partition(", ")[0] == chosen.partition(", ")[0]
    shown = {main - 1, main} if same else {(len(columns) - 1) // 2}
    return [_changed(planned, first=at in shown) for at, planned in enumerate(columns)]


def _axis_columns(axis: str, cells: Sequence[CellKey], chosen: str | None, *, several: bool) -> list[PlannedColumn]:
    """Mean over all cells, then a column for each of a few cells, or a mean per strength, of which the first screen
    shows the ends and the middle."""
    if len(cells) == 1:
        return [_column(" ".join(cells[0]).strip(), "mean", cells)]
    mean = _column(f"{axis} mean" if several and axis else "mean", "mean", cells)
    few = len(cells) <= FEW_CELLS
    parts: dict[str, list[CellKey]] = {}
    for cell in sorted(cells, key=lambda cell: strength_sort_key(cell.strength)):
        name = " ".join(cell) if few or not cell.strength else f"{axis} {cell.strength}"
        parts.setdefault(name.strip(), []).append(cell)
    columns = [_column(name, "mean", members) for name, members in parts.items()]
    ends = {0, len(columns) // 2, len(columns) - 1} if axis == chosen and len(columns) > 1 else set[int]()
    shown = set(range(len(columns))) if few else ends
    return [mean, *(_changed(planned, first=at in shown) for at, planned in enumerate(columns))]


def _column(name: str, rule: ColumnRule, cells: Sequence[CellKey], *, attacks: Sequence[CellKey] = ()) -> PlannedColumn:
    controls = [cell for cell in cells if cell not in attacks] if attacks else []
    column = HeadlineColumn(
        name=name,
        rule=rule,
        cells=tuple(cell_name(cell.stressor, cell.strength) for cell in cells),
        controls=tuple(cell_name(cell.stressor, cell.strength) for cell in controls),
    )
    return PlannedColumn(column=column, cells=tuple(cells), attacks=tuple(attacks))


def _changed(planned: PlannedColumn, **fields: object) -> PlannedColumn:
    column = planned.column.model_copy(update=fields)
    return PlannedColumn(column=column, cells=planned.cells, attacks=planned.attacks)
