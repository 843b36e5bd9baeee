"""Records as rows of a Parquet table, with a digest by which a changed row is noticed."""

import hashlib
import time
from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray
from pydantic import ValidationError

from robustbench_wb.errors import StoreError
from robustbench_wb.records.record import COUNTED, SCHEMA_VERSION, Identity, Record
from robustbench_wb.spec import canonical_json
from robustbench_wb.store.schema_number import reject_newer_schema
from robustbench_wb.text_files import parse_json

ARRAYS: Final[dict[str, DTypeLike]] = {
    "ids": "<i4",
    "states": "<i1",
    "losses": "<f4",
    "forwards": "<i4",
    "backwards": "<i4",
}
"""Per-sample columns and their number formats, in the order in which they are digested."""
_OPTIONAL: Final[dict[str, DTypeLike]] = {
    "pixels": "<i4",
    "calibration": "<f4",
    "max_logits": "<f4",
    "text_measures": "<f4",
}
"""Columns with several numbers per sample, those of a sample after each other; null in records without them."""
_SHAPES: Final = {"pixels": (-1, COUNTED), "calibration": (2,), "max_logits": (2,), "text_measures": (2,)}
"""Shape of the numbers of one sample in the columns of ``_OPTIONAL``."""

SCHEMA: Final = pa.schema(
    [
        ("key", pa.string()),
        ("identity", pa.string()),
        ("ids", pa.list_(pa.int32())),
        ("states", pa.list_(pa.int8())),
        ("losses", pa.list_(pa.float32())),
        ("forwards", pa.list_(pa.int32())),
        ("backwards", pa.list_(pa.int32())),
        ("wobble", pa.int32()),
        ("seconds", pa.float64()),
        ("schema_version", pa.int32()),
        ("written", pa.int64()),
        ("digest", pa.string()),
        ("evidence", pa.string()),
        ("perturbed", pa.string()),
        ("pixels", pa.list_(pa.int32())),
        ("calibration", pa.list_(pa.float32())),
        ("max_logits", pa.list_(pa.float32())),
        ("text_measures", pa.list_(pa.float32())),
    ]
)
"""Columns of the table. ``written`` is in nanoseconds since 1970 (UTC): of records with one key, the first counts."""

_SCALARS: Final = ("key", "wobble", "evidence", "perturbed", "schema_version", "seconds", "written")
"""Columns that the digest covers beside the arrays, in order."""


def _digest(row: Mapping[str, object], arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """SHA-256 (hex) over all columns of a record but ``identity``, whose digest is the key.

    Of each array that the record has, the digest covers name, length and little-endian bytes.
    """
    return _digest_after("\n".join(str(row[name]) for name in _SCALARS), arrays)


def _early_digest(row: Mapping[str, object], arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """Digest as earlier releases wrote it: without time and schema, and in schema 1 without evidence as well."""
    rest = "" if row["evidence"] is None else f"{row['evidence']}\n{row['perturbed'] or ''}"
    return _digest_after(f"{row['key']}\n{row['wobble']}\n{rest}", arrays)


def _digest_after(start: str, arrays: Mapping[str, NDArray[np.generic]]) -> str:
    state = hashlib.sha256(start.encode())
    for name, dtype in (ARRAYS | _OPTIONAL).items():
        if name not in arrays:
            continue
        content = np.ascontiguousarray(arrays[name], dtype=dtype)
        state.update(f"{name} {content.size}\n".encode())
        state.update(content.tobytes())
    return state.hexdigest()


def write_row(record: Record) -> pa.Table:
    """A table with one row, which holds the record.

    Raises:
        ValueError: the arrays of the record differ in length, which is a programming error.
    """
    arrays = {name: np.ascontiguousarray(getattr(record, name), dtype=dtype) for name, dtype in ARRAYS.items()}
    sizes = {name: array.shape for name, array in arrays.items()}
    if len(set(sizes.values())) != 1 or arrays["ids"].ndim != 1:
        raise ValueError(f"the arrays of a record must be one-dimensional and of one length, not {sizes}")
    for name, array in record.optional.items():
        if len(array) != len(record.ids):
            raise ValueError(f"a record of {len(record.ids)} samples has {name} of {len(array)}")
        arrays[name] = np.ascontiguousarray(array, dtype=_OPTIONAL[name]).ravel()
    row: dict[str, object] = {
        "key": record.key,
        "identity": canonical_json(record.identity),
        **arrays,
        "wobble": record.wobble,
        "seconds": float(record.seconds),
        "schema_version": record.identity.schema_version,
        "written": time.time_ns(),
        "evidence": canonical_json(record.evidence),
        "perturbed": record.perturbed,
        **{name: arrays.get(name) for name in _OPTIONAL},
    }
    row["digest"] = _digest(row, arrays)
    return pa.table({name: [row[name]] for name in SCHEMA.names}, schema=SCHEMA)


def read_records(rows: pa.Table, *, recover: bool = False) -> tuple[dict[str, Record], dict[str, str]]:
    """Records of some rows of the table, by key, and the reasons why others are damaged, by key.

    Of several rows with one key, the first written counts; with ``recover``, the first intact one.
    """
    lacking = {field.name: pa.nulls(len(rows), field.type) for field in SCHEMA if field.name not in rows.column_names}
    columns = {name: rows[name].combine_chunks() for name in rows.column_names} | lacking
    keys, written, digests = (columns[name].to_pylist() for name in ("key", "written", "digest"))
    found: dict[str, Record] = {}
    damaged: dict[str, str] = {}
    for index in sorted(range(len(rows)), key=lambda at: (written[at] or 0, digests[at] or "", at)):
        key = keys[index]
        if key in found or (key in damaged and not recover):
            continue
        try:
            found[key] = _read_row(columns, index)
            damaged.pop(key, None)
        except StoreError as error:
            damaged[key] = str(error)
    return found, damaged


def _read_row(columns: Mapping[str, pa.Array], index: int) -> Record:
    row = {name: columns[name][index].as_py() for name in (*_SCALARS, "identity", "digest")}
    key, text = row["key"], row["identity"] or ""
    reject_newer_schema(row["schema_version"], SCHEMA_VERSION, f"record {key}")
    arrays = {
        name: np.asarray(columns[name][index].values.to_numpy(zero_copy_only=False), dtype=dtype)
        for name, dtype in (ARRAYS | _OPTIONAL).items()
        if columns[name][index].is_valid
    }
    if (
        not ARRAYS.keys() <= arrays.keys()
        or hashlib.sha256(text.encode()).hexdigest() != key
        or row["digest"] not in (_digest(row, arrays), _early_digest(row, arrays))
    ):
        raise StoreError(f"record {key} was changed after it was written; `robustbench-wb repair` moves it aside")
    try:
        identity = Identity.model_validate_json(text)
    except ValidationError as error:
        raise StoreError(f"record {key} was written by a release that this one cannot read") from error
    ids, states, losses, forwards, backwards = (arrays[name] for name in ARRAYS)
    return Record(
        identity=identity,
        ids=ids,
        states=states,
        losses=losses,
        forwards=forwards,
        backwards=backwards,
        wobble=row["wobble"],
        seconds=row["seconds"],
        evidence=parse_json(row["evidence"] or "{}"),
        perturbed=row["perturbed"] or "",
        **{name: arrays[name].reshape(len(ids), *shape) for name, shape in _SHAPES.items() if name in arrays},
    )
