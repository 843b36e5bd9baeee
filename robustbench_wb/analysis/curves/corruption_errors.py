"""Errors under the common corruptions: as they are, and beside those of a reference (Hendrycks & Dietterich 2019)."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from robustbench_wb.analysis.curves.alexnet import CLEAN_ERROR, COMMON, ERRORS
from robustbench_wb.analysis.curves.strength_curves import CLEAN, aligned_records
from robustbench_wb.errors import UsageError
from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import PanelKey, ScoreRow
from robustbench_wb.spec import Spec
from robustbench_wb.stats.intervals import bootstrap_interval

SEVERITIES: Final = ("1", "2", "3", "4", "5")
STORED: Final = "stored-"
"""What the name of a corruption begins with whose images were read from a published folder."""


class ReferenceErrors(NamedTuple):
    """Errors that others are measured by."""

    name: str
    clean: float
    errors: Mapping[str, Sequence[float]]
    """By corruption, and by severity."""
    needed: tuple[str, ...]
    """The corruptions that a mean over them must have."""


ALEXNET: Final = ReferenceErrors("AlexNet", CLEAN_ERROR, ERRORS, COMMON)


class RelativeErrors(Spec):
    """Errors as shares of a reference's. Everything is in percent; None where the reference's sum is not above 0."""

    reference: str
    ce: dict[str, float | None]
    """CE_c = sum_s E_sc / sum_s R_sc, of each corruption that both have."""
    relative: dict[str, float | None]
    """Relative CE_c = sum_s (E_sc - E_clean) / sum_s (R_sc - R_clean)."""
    mean: float | None
    """Mean of the CE of common corruptions: mCE if the reference is AlexNet. None where one of them is None, or AlexNet
    is the reference and one of the 15 is lacking."""
    relative_mean: float | None


class CorruptionErrors(Spec):
    """One subject in one panel."""

    clean: ScoreRow
    stored: bool
    """Whether the images were published files, and not made on the fly: another benchmark, though much alike."""
    errors: dict[str, tuple[float, ...]]
    """Error at each severity, 1 to 5; corruptions of which one is missing or failed are left out."""
    mean: float
    """Mean over severities and common corruptions (:attr:`common`), not normalised."""
    low: float | None
    high: float | None
    """Ends of its 95 % percentile bootstrap interval over test samples; None where a record is not in the store."""
    normalised: tuple[RelativeErrors, ...] = ()

    @property
    def common(self) -> tuple[str, ...]:
        """Those of the 15 that were measured. The other four are for choosing settings and are in no mean."""
        return tuple(name for name in COMMON if name in self.errors)


def corruption_errors(
    rows: Sequence[ScoreRow], records: Mapping[str, Record], baseline: str | None = None, alexnet: bool = False
) -> list[CorruptionErrors]:
    """The errors of every subject and panel that has a common corruption at all five severities, and a clean row.

    Args:
        rows: of any subjects and stressors.
        records: by key; those that are lacking cost intervals, no more.
        baseline: a variant, with or without its size, whose errors in the same panel are a reference.
        alexnet: whether AlexNet's are one.

    Raises:
        UsageError: there is no such baseline; or AlexNet is asked for, and the rows are not of ImageNet's 1000 classes
            under the corruptions of ImageNet-C.
    """
    cleans = {(row.panel, row.subject): row for row in rows if row.stressor == CLEAN and row.status != "error"}
    groups: dict[tuple[PanelKey, tuple[str, ...], bool], list[ScoreRow]] = {}
    for row in rows:
        if _corruption(row) in ERRORS and row.status != "error" and (row.panel, row.subject) in cleans:
            groups.setdefault((row.panel, row.subject, _is_stored(row)), []).append(row)
    pairs = []
    for (panel, subject, _), members in groups.items():
        measured = _errors(cleans[panel, subject], members, records)
        if measured is not None:
            pairs.append((members, measured))
    every = [found for _, found in pairs]
    if (baseline is not None or alexnet) and not every:
        raise UsageError("no subject has a common corruption at severities 1 to 5, so there is nothing to normalise")
    result = []
    for members, found in pairs:
        references = [_baseline(baseline, found, every)] if baseline is not None else []
        if alexnet:
            _refuse_others(members)
            references.append(ALEXNET)
        normalised = tuple(_normalised(found, reference) for reference in references)
        result.append(found.model_copy(update={"normalised": normalised}))
    return result


def _corruption(row: ScoreRow) -> str:
    """Which one it is: published folders write ``gaussian_noise``."""
    return row.stressor.removeprefix(STORED).replace("_", "-")


def _is_stored(row: ScoreRow) -> bool:
    return row.stressor.startswith(STORED)


def _errors(clean: ScoreRow, rows: Sequence[ScoreRow], records: Mapping[str, Record]) -> CorruptionErrors | None:
    """Errors of one subject; None without a common corruption that is whole."""
    ladders: dict[str, dict[str, ScoreRow]] = {}
    for row in rows:
        ladders.setdefault(_corruption(row), {})[row.strength] = row
    whole = {name: [found[s] for s in SEVERITIES] for name, found in ladders.items() if set(SEVERITIES) <= set(found)}
    common = [row for name in COMMON for row in whole.get(name, [])]
    if not common:
        return None
    kept = aligned_records(common, records)
    wrong = None if kept is None else np.mean([record.states != State.ROBUST for record in kept], 0)
    low, high = (None, None) if wrong is None else bootstrap_interval(wrong)
    return CorruptionErrors(
        clean=clean,
        stored=_is_stored(rows[0]),
        errors={name: tuple(map(_error, whole[name])) for name in ERRORS if name in whole},
        mean=float(np.mean([_error(row) for row in common])),
        low=low,
        high=high,
    )


def _error(row: ScoreRow) -> float:
    return 1 - (row.accuracy or 0.0)


def _baseline(name: str, subject: CorruptionErrors, every: Sequence[CorruptionErrors]) -> ReferenceErrors:
    """The errors of a variant in the same panel, by the same recipe and seed if there are several."""
    beside = [one for one in every if (one.clean.panel, one.stored) == (subject.clean.panel, subject.stored)]
    found = [one for one in beside if name in (one.clean.variant, f"{one.clean.variant}-{one.clean.size}")]
    alike = [one for one in found if one.clean.subject[2:] == subject.clean.subject[2:]]
    chosen = alike if len(alike) == 1 else found
    if len(chosen) != 1:
        have = ", ".join(dict.fromkeys(one.clean.variant for one in beside))
        what = f"{len(found)} subjects called {name!r}" if found else f"no baseline {name!r}"
        raise UsageError(f"task {subject.clean.task!r} has {what} with all severities of a corruption; it has: {have}")
    errors = chosen[0].errors
    return ReferenceErrors(name, _error(chosen[0].clean), errors, tuple(c for c in subject.common if c in errors))


def _refuse_others(rows: Sequence[ScoreRow]) -> None:
    """AlexNet's errors are of ImageNet's 1000 classes under ImageNet-C alone.

    Raises:
        UsageError: a row is of something else.
    """
    for row in rows:
        if row.classes != 1000:
            raise UsageError(
                f"AlexNet's errors are those of ImageNet's 1000 classes; task {row.task!r} has {row.classes}"
            )
        calibrations = [part for part in row.signature.split(";") if part.startswith("calibration=")]
        meant = calibrations == ["calibration=224"] if calibrations else row.side >= 120
        if not meant:
            raise UsageError(
                f"AlexNet's errors are of the corruptions of ImageNet-C (calibration=224); {row.stressor} of task "
                f"{row.task!r} has {calibrations[0] if calibrations else f'images of {row.side} pixels'}"
            )


def _normalised(subject: CorruptionErrors, reference: ReferenceErrors) -> RelativeErrors:
    ce, relative = {}, {}
    for name in (name for name in subject.errors if name in reference.errors):
        own, others = subject.errors[name], reference.errors[name]
        ce[name] = _percent(sum(own), sum(others))
        above = (sum(own) - len(own) * _error(subject.clean), sum(others) - len(others) * reference.clean)
        relative[name] = _percent(*above)
    means = (_mean(ce, reference.needed), _mean(relative, reference.needed))
    return RelativeErrors(reference=reference.name, ce=ce, relative=relative, mean=means[0], relative_mean=means[1])


def _percent(part: float, whole: float) -> float | None:
    return 100 * part / whole if whole > 0 else None


def _mean(values: Mapping[str, float | None], needed: Sequence[str]) -> float | None:
    """Mean of the values that are needed; None where one is not there."""
    found = [value for name in needed if (value := values.get(name)) is not None]
    return float(np.mean(found)) if needed and len(found) == len(needed) else None
