"""Baseline files for version control: the rows of a version, the outcome of every sample, and the provenance.

The format is Parquet with one line per evaluation: the columns of the score table, then ``ids``, ``states`` and, for
perplexity, ``losses`` of the samples. Any Parquet reader opens it. The metadata of the file hold the header, the schema
number of the columns, and a digest of all content.
"""

import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from robustbench_wb.errors import MeasurementError, StoreError, UsageError
from robustbench_wb.exports import write_export
from robustbench_wb.records.record import Identity, Record
from robustbench_wb.records.score_row import SCHEMA_VERSION, ScoreRow
from robustbench_wb.spec import Spec, canonical_json
from robustbench_wb.store.parquet_content import parquet_table
from robustbench_wb.store.schema_number import SCHEMA_KEY, reject_newer_schema
from robustbench_wb.store.score_table import SCHEMA as ROW_SCHEMA
from robustbench_wb.text_files import parse_json, reason_of

FORMAT: Final = 1
"""Version of the file format. Raise it when the header or the definition of the digest changes. The version of the
columns is ``robustbench_wb.records.score_row.SCHEMA_VERSION``."""
FOLDER: Final = "baselines"
"""Default folder of baseline files."""
SUFFIX: Final = ".parquet"
"""Suffix of baseline files."""

_OUTCOMES: Final = (
    ("role", pa.string()),
    ("identity", pa.string()),
    ("evidence", pa.string()),
    ("ids", pa.list_(pa.int32())),
    ("states", pa.list_(pa.int8())),
    ("losses", pa.list_(pa.float32())),
)
_ARRAYS: Final = {"ids": "<i4", "states": "<i1", "losses": "<f4"}
_ENCODED: Final = {"ids.list.element": "DELTA_BINARY_PACKED", "losses.list.element": "BYTE_STREAM_SPLIT"}
_HEADER: Final = b"robustbench_wb"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Role = Literal["baseline", "pinned"]


class BaselineAncestor(Spec):
    """Summary of an earlier baseline of the same name."""

    sha256: str
    """Digest of the earlier baseline (``Baseline.digest``)."""
    source: str
    """Version of the score table that the baseline was made from, such as ``v3``."""
    time: str
    """Time of the run (UTC, ISO 8601); empty if unknown."""
    commit: str
    """Git commit of the package during the run; empty if unknown."""
    cells: int
    """Number of rows."""
    means: dict[str, float]
    """Mean accuracy of each suite, 0 to 1."""


class BaselineHeader(Spec):
    """Header of a baseline file."""

    format: int = FORMAT
    name: str
    """Name of the baseline."""
    source: str
    """Version of the score table that the baseline was made from, such as ``v3``."""
    provenance: dict[str, object]
    """Provenance of the run that committed the version; see ``collect_provenance``."""
    ancestors: tuple[BaselineAncestor, ...] = ()
    """Earlier baselines of the chain, from the pinned first one to the latest; empty for a pinned baseline."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Content of a baseline file."""

    header: BaselineHeader
    rows: Sequence[ScoreRow]
    """Rows of the version."""
    pinned: Sequence[ScoreRow]
    """Row of each slot in the earliest baseline of the chain that has it; empty for a pinned baseline."""
    records: Mapping[str, Record] = field(repr=False)
    """Records of ``rows`` and ``pinned`` by key.

    Losses of accuracies are NaN and passes per sample are 0: the file lacks them, and no comparison uses them."""
    columns: Sequence[str] = tuple(ROW_SCHEMA.names)
    """Columns of the rows in the file, which the digest covers; a file of an earlier release has fewer."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all content, independent of how Parquet encodes it."""
        state = hashlib.sha256(f"{canonical_json(self.header)}\n".encode())
        for entry in _entries(self):
            arrays = {name: entry.pop(name) for name in _ARRAYS}
            state.update(f"{canonical_json(entry)}\n".encode())
            for name, values in arrays.items():
                content = np.empty(0) if values is None else np.ascontiguousarray(values, dtype=_ARRAYS[name])
                state.update(f"{name} {content.size}\n".encode())
                state.update(content.tobytes())
        return state.hexdigest()

    @property
    def as_ancestor(self) -> BaselineAncestor:
        """Summary of this baseline for the header of its successor."""
        given, git = self.header.provenance, self.header.provenance.get("git")
        means: dict[str, list[float]] = {}
        for row in self.rows:
            if row.accuracy is not None:
                means.setdefault(row.suite, []).append(row.accuracy)
        return BaselineAncestor(
            sha256=self.digest,
            source=self.header.source,
            time=str(given.get("time", "")),
            commit=str(git.get("commit", "")) if isinstance(git, Mapping) else "",
            cells=len(self.rows),
            means={suite: float(np.mean(values)) for suite, values in means.items()},
        )


def baseline_path(name: str, file: str | None = None) -> Path:
    """Path of the baseline ``name``: ``file`` if given, else ``baselines/NAME.parquet``.

    Raises:
        UsageError: the name has characters other than letters, digits, '.', '_' and '-', or the file another suffix.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a valid name of a baseline; use letters, digits, '.', '_' and '-'")
    if file is not None and not file.endswith(SUFFIX):
        raise UsageError(f"a baseline file must end in {SUFFIX}, unlike {file!r}")
    return Path(file) if file is not None else Path(FOLDER) / f"{name}{SUFFIX}"


def make_baseline(
    name: str,
    source: str,
    rows: Sequence[ScoreRow],
    records: Mapping[str, Record],
    provenance: Mapping[str, object],
    parent: Baseline | None = None,
) -> Baseline:
    """Make a baseline of a version.

    Args:
        name: name of the baseline.
        source: version of the score table, such as ``v3``.
        rows: rows of the version.
        records: records of the rows by key.
        provenance: provenance of the run that committed the version.
        parent: earlier baseline of the same name, if any.

    Raises:
        MeasurementError: an evaluation failed or its record is missing, so that nothing can be compared with it.
    """
    lacking = [row for row in rows if row.status != "ok" or row.key not in records]
    if lacking or not rows:
        first = f"{lacking[0].task} {lacking[0].variant} {lacking[0].stressor} {lacking[0].strength}" if lacking else ""
        why = f"{len(lacking)} of its cells failed or have no record, first: {first}" if lacking else "it is empty"
        raise MeasurementError(f"{source} cannot be a baseline: {why}; run the suite again")
    pinned: list[ScoreRow] = []
    ancestors: tuple[BaselineAncestor, ...] = ()
    if parent is not None:
        ancestors = (*parent.header.ancestors, parent.as_ancestor)
        known = {row.slot for row in parent.pinned}
        pinned = [*parent.pinned, *(row for row in parent.rows if row.slot not in known)]
    header = BaselineHeader(name=name, source=source, provenance=dict(provenance), ancestors=ancestors)
    every = {**(parent.records if parent else {}), **records}
    return Baseline(
        header=header, rows=list(rows), pinned=pinned, records={row.key: every[row.key] for row in (*rows, *pinned)}
    )


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write a baseline file atomically. Equal baselines give equal bytes with the same release of pyarrow.

    Raises:
        StoreError: the file cannot be written.
    """
    schema = pa.schema([*(ROW_SCHEMA.field(name) for name in baseline.columns), *_OUTCOMES])
    table = pa.Table.from_pylist(list(_entries(baseline)), schema=schema)
    header = canonical_json({"header": baseline.header, "digest": baseline.digest, SCHEMA_KEY: SCHEMA_VERSION})
    packed = [name for name in (*schema.names, "states.list.element") if name not in _ARRAYS]
    buffer = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({_HEADER: header.encode()}),
        buffer,
        compression="zstd",
        use_dictionary=packed,
        column_encoding=_ENCODED,
        write_statistics=False,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_export(path, buffer.getvalue())
    except (OSError, ValueError) as error:
        raise StoreError(f"{str(path)!r} cannot be written: {reason_of(error)}") from error


def read_baseline(path: Path) -> Baseline:
    """Read a baseline file and verify its digest.

    Raises:
        StoreError: the file cannot be read, is not a baseline, is damaged, or was changed.
    """
    try:
        table = parquet_table(path.read_bytes())
        content = parse_json((table.schema.metadata or {})[_HEADER].decode())
    except OSError as error:
        # Errors of Arrow itself have no system message.
        raise StoreError(f"{str(path)!r} {_unreadable(error)}") from error
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise StoreError(f"{str(path)!r} is not a baseline file, or it is damaged") from error
    if not isinstance(content, dict) or not isinstance(content.get("header"), dict):
        raise StoreError(f"{str(path)!r} is not a baseline file, or it is damaged")
    reject_newer_schema(content.get(SCHEMA_KEY), SCHEMA_VERSION, repr(str(path)))
    if content["header"].get("format") != FORMAT:
        raise StoreError(f"{str(path)!r} has another format than this release reads ({FORMAT}); install a newer one")
    try:
        columns = [name for name in table.schema.names if name not in dict(_OUTCOMES)]
        baseline = _from_entries(BaselineHeader.model_validate(content["header"]), table.to_pylist(), columns)
        intact = baseline.digest == content["digest"]
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{str(path)!r} does not fit this release, or was changed after it was written") from error
    if not intact:
        raise StoreError(f"{str(path)!r} was changed after it was written; restore it from version control")
    return baseline


def _unreadable(error: OSError) -> str:
    return f"cannot be read: {error.strerror}" if error.strerror else "is not a baseline file, or it is damaged"


def _entries(baseline: Baseline) -> Iterable[dict[str, Any]]:
    """Lines of the file, as dictionaries by column."""
    members: tuple[tuple[Role, Sequence[ScoreRow]], ...] = (("baseline", baseline.rows), ("pinned", baseline.pinned))
    for role, rows in members:
        for row in rows:
            record = baseline.records[row.key]
            yield {
                **{name: value for name, value in row.stored.items() if name in baseline.columns},
                "role": role,
                "identity": canonical_json(record.identity),
                "evidence": canonical_json(dict(record.evidence)),
                "ids": record.ids,
                "states": record.states,
                "losses": record.losses if row.metric == "perplexity" else None,
            }


def _from_entries(header: BaselineHeader, entries: Iterable[dict[str, Any]], columns: Sequence[str]) -> Baseline:
    rows: dict[Role, list[ScoreRow]] = {"baseline": [], "pinned": []}
    records: dict[str, Record] = {}
    for entry in entries:
        role, identity, evidence = (entry.pop(name) for name in ("role", "identity", "evidence"))
        arrays = {name: entry.pop(name) for name in _ARRAYS}
        row = ScoreRow.model_validate(entry)
        rows[role].append(row)
        records[row.key] = _record(
            row=row, identity=Identity.model_validate_json(identity), evidence=parse_json(evidence), arrays=arrays
        )
    return Baseline(header=header, rows=rows["baseline"], pinned=rows["pinned"], records=records, columns=columns)


def _record(row: ScoreRow, identity: Identity, evidence: dict[str, float], arrays: Mapping[str, Any]) -> Record:
    if identity.key != row.key:
        raise ValueError(f"the identity of {row.key} has another digest")
    ids, states = (np.asarray(arrays[name], dtype=_ARRAYS[name]) for name in ("ids", "states"))
    unknown, none = np.full(len(ids), np.nan, dtype=np.float32), np.zeros(len(ids), dtype=np.int32)
    losses = unknown if arrays["losses"] is None else np.asarray(arrays["losses"], dtype=np.float32)
    return Record(
        identity=identity,
        ids=ids,
        states=states,
        losses=losses,
        forwards=none,
        backwards=none,
        wobble=row.wobble,
        seconds=row.seconds,
        evidence=evidence,
        perturbed=row.perturbed,
    )
