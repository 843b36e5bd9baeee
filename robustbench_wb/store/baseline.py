"""A baseline: one file to be committed, with the rows of a version, what became of every sample, and where it is from.

The format is Parquet with one line per cell: the columns of the score table, then ``ids``, ``states`` and, for
perplexity, ``losses`` of its samples. Any reader of Parquet opens it. The header, the number of the set of columns and
a digest of all content stand in the file's metadata.
"""

import hashlib
import io
import json
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
from robustbench_wb.folders import write_atomic
from robustbench_wb.records.record import Identity, Record
from robustbench_wb.records.score_row import SCHEMA_VERSION, ScoreRow
from robustbench_wb.spec import Spec, canonical_json
from robustbench_wb.store.schema import SCHEMA_KEY, refuse_newer
from robustbench_wb.store.scores import SCHEMA as ROW_SCHEMA

FORMAT: Final = 1
"""Version of the file format. Raise it when the header changes, or what the digest is of. Columns have a number of
their own, :data:`robustbench_wb.records.score_row.SCHEMA_VERSION`."""
FOLDER: Final = "baselines"
SUFFIX: Final = ".parquet"

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


class Ancestor(Spec):
    """An earlier baseline of the same name, as it is remembered."""

    sha256: str
    """:attr:`Baseline.digest` of it."""
    source: str
    """The version that it was made of, like ``v3``."""
    time: str
    """When that was measured (UTC); empty when nobody noted it. So the next one."""
    commit: str
    cells: int
    means: dict[str, float]
    """Mean accuracy by suite, 0 to 1."""


class Header(Spec):
    """What a baseline file says of itself."""

    format: int = FORMAT
    name: str
    source: str
    provenance: dict[str, Any]
    """Of the run that committed the version; see :func:`robustbench_wb.store.provenance.collect`."""
    ancestors: tuple[Ancestor, ...] = ()
    """The pinned one first, its latest successor last; empty when this one was pinned."""


@dataclass(frozen=True)
class Baseline:
    """The content of a baseline file."""

    header: Header
    rows: Sequence[ScoreRow]
    pinned: Sequence[ScoreRow]
    """The cells as the first baseline of the chain that had them has them; empty when this is the first."""
    records: Mapping[str, Record] = field(repr=False)
    """Of both by key. Losses of accuracies (then NaN) and passes per sample (then 0) are not kept: no comparison looks
    at them."""
    columns: Sequence[str] = tuple(ROW_SCHEMA.names)
    """Of the rows, those that the file has: one of an earlier harness has fewer, and its digest is of those."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all content, whatever packed it."""
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
    def as_ancestor(self) -> Ancestor:
        """How a successor remembers it."""
        given, git = self.header.provenance, self.header.provenance.get("git") or {}
        means: dict[str, list[float]] = {}
        for row in self.rows:
            if row.accuracy is not None:
                means.setdefault(row.suite, []).append(row.accuracy)
        return Ancestor(
            sha256=self.digest,
            source=self.header.source,
            time=str(given.get("time", "")),
            commit=str(git.get("commit", "")),
            cells=len(self.rows),
            means={suite: float(np.mean(values)) for suite, values in means.items()},
        )


def baseline_path(name: str, file: str | None = None) -> Path:
    """Where the baseline of a name is: ``baselines/NAME.parquet``, unless ``file`` says otherwise.

    Raises:
        UsageError: the name cannot be a file's.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a baseline; use letters, digits, '.', '_' and '-'")
    if file is not None and not file.endswith(SUFFIX):
        raise UsageError(f"a baseline is a {SUFFIX} file, not {file!r}")
    return Path(file) if file is not None else Path(FOLDER) / f"{name}{SUFFIX}"


def make_baseline(
    name: str,
    source: str,
    rows: Sequence[ScoreRow],
    records: Mapping[str, Record],
    provenance: Mapping[str, Any],
    parent: Baseline | None = None,
) -> Baseline:
    """A baseline of a version, the successor of ``parent`` if there is one.

    Raises:
        MeasurementError: a cell failed, or its record is missing: what was not judged cannot be compared with.
    """
    lacking = [row for row in rows if row.status != "ok" or row.key not in records]
    if lacking or not rows:
        first = f"{lacking[0].task} {lacking[0].variant} {lacking[0].stressor} {lacking[0].strength}" if lacking else ""
        why = f"{len(lacking)} of its cells failed or lack their record, first: {first}" if lacking else "it is empty"
        raise MeasurementError(f"{source} cannot be a baseline: {why}; run the suite again")
    pinned: list[ScoreRow] = []
    ancestors: tuple[Ancestor, ...] = ()
    if parent is not None:
        ancestors = (*parent.header.ancestors, parent.as_ancestor)
        known = {row.slot for row in parent.pinned}
        pinned = [*parent.pinned, *(row for row in parent.rows if row.slot not in known)]
    header = Header(name=name, source=source, provenance=dict(provenance), ancestors=ancestors)
    every = {**(parent.records if parent else {}), **records}
    return Baseline(header, list(rows), pinned, {row.key: every[row.key] for row in (*rows, *pinned)})


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write the file, whole or not at all. Equal baselines give equal bytes by one release of pyarrow.

    Raises:
        StoreError: it cannot be written.
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
        write_atomic(path, lambda temporary: temporary.write_bytes(buffer.getvalue()))
    except OSError as error:
        raise StoreError(f"{str(path)!r} cannot be written: {error.strerror}") from error


def read_baseline(path: Path) -> Baseline:
    """Read a file, and check that it is what was written.

    Raises:
        StoreError: it cannot be read, is no baseline, is damaged, or was changed.
    """
    try:
        table = pq.read_table(io.BytesIO(path.read_bytes()))
        content = json.loads((table.schema.metadata or {})[_HEADER])
    except OSError as error:
        # Arrow's own complaints have no system message.
        raise StoreError(f"{str(path)!r} {_unreadable(error)}") from error
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise StoreError(f"{str(path)!r} is no baseline file, or it is damaged") from error
    refuse_newer(content.get(SCHEMA_KEY), SCHEMA_VERSION, repr(str(path)))
    if content.get("header", {}).get("format") != FORMAT:
        raise StoreError(f"{str(path)!r} has another format than this harness reads ({FORMAT}); install the newer one")
    try:
        columns = [name for name in table.schema.names if name not in dict(_OUTCOMES)]
        baseline = _from_entries(Header.model_validate(content["header"]), table.to_pylist(), columns)
        intact = baseline.digest == content["digest"]
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{str(path)!r} does not fit this harness, or was changed after it was written") from error
    if not intact:
        raise StoreError(f"{str(path)!r} was changed after it was written; take it from version control again")
    return baseline


def _unreadable(error: OSError) -> str:
    return f"cannot be read: {error.strerror}" if error.strerror else "is no baseline file, or it is damaged"


def _entries(baseline: Baseline) -> Iterable[dict[str, Any]]:
    """The lines of the file."""
    members: tuple[tuple[Role, Sequence[ScoreRow]], ...] = (("baseline", baseline.rows), ("pinned", baseline.pinned))
    for role, rows in members:
        for row in rows:
            record = baseline.records[row.key]
            yield {
                **row.model_dump(include=set(baseline.columns)),
                "role": role,
                "identity": canonical_json(record.identity),
                "evidence": canonical_json(dict(record.evidence)),
                "ids": record.ids,
                "states": record.states,
                "losses": record.losses if row.metric == "perplexity" else None,
            }


def _from_entries(header: Header, entries: Iterable[dict[str, Any]], columns: Sequence[str]) -> Baseline:
    rows: dict[Role, list[ScoreRow]] = {"baseline": [], "pinned": []}
    records: dict[str, Record] = {}
    for entry in entries:
        role, identity, evidence = (entry.pop(name) for name in ("role", "identity", "evidence"))
        arrays = {name: entry.pop(name) for name in _ARRAYS}
        row = ScoreRow.model_validate(entry)
        rows[role].append(row)
        records[row.key] = _record(row, Identity.model_validate_json(identity), json.loads(evidence), arrays)
    return Baseline(header, rows["baseline"], rows["pinned"], records, columns)


def _record(row: ScoreRow, identity: Identity, evidence: dict[str, float], arrays: Mapping[str, Any]) -> Record:
    if identity.key != row.key:
        raise ValueError(f"the identity of {row.key} is another one")
    ids, states = (np.asarray(arrays[name], dtype=_ARRAYS[name]) for name in ("ids", "states"))
    unknown, none = np.full(len(ids), np.nan, dtype=np.float32), np.zeros(len(ids), dtype=np.int32)
    losses = unknown if arrays["losses"] is None else np.asarray(arrays["losses"], dtype=np.float32)
    return Record(identity, ids, states, losses, none, none, row.wobble, row.seconds, evidence, row.perturbed)
