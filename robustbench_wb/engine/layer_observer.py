"""Layer statistics of a cell, measured while its perturbed inputs exist, and cached."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from robustbench_wb.errors import MeasurementError, as_measurement_error
from robustbench_wb.folders import cache_folder, write_atomic
from robustbench_wb.layers.measure_layers import measure_layers
from robustbench_wb.layers.table import MEASURES, LayerTable, join_tables
from robustbench_wb.models.backbone import Transformer
from robustbench_wb.source import code_digest
from robustbench_wb.spec import digest
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch

LAYER_BATCH = 64
"""Largest batch: attention matrices are written out, and noise is drawn in float64."""
_log = logging.getLogger(__name__)


@dataclass
class LayerObserver:
    """Measures the layers of each batch of a cell. A failure is logged and leaves a gap: it never fails the cell."""

    parts: list[LayerTable] = field(default_factory=list)
    failed: bool = False

    def __call__(self, batch: SampleBatch, perturbed: PerturbedBatch, access: ModelAccess) -> float:
        """Measure the layers of a batch; return the seconds that it took."""
        started = time.perf_counter()
        if isinstance(access.model, Transformer) and not self.failed:
            size = min(access.batch_size, LAYER_BATCH)
            try:
                with as_measurement_error("layers"):
                    refuse_vectors(perturbed)
                    self.parts.append(
                        measure_layers(access.model, perturbed.inputs, batch.ids, seed=batch.seed, batch=size)
                    )
            except MeasurementError as error:
                _log.warning("%s", error)
                self.failed = True
        return time.perf_counter() - started

    @property
    def table(self) -> LayerTable | None:
        """Layers of all samples that the cell tried; None if there is none, or they could not be measured."""
        return join_tables(self.parts) if self.parts and not self.failed else None


def refuse_vectors(perturbed: PerturbedBatch) -> None:
    """Refuse perturbed word vectors: layers are measured from token ids.

    Raises:
        MeasurementError: word vectors were perturbed.
    """
    if perturbed.vectors is not None:
        raise MeasurementError("layers are not measured under perturbed word vectors, which have no token ids")


def find_layers(key: str) -> LayerTable | None:
    """Cached layers of the record with a key; None if they are missing, damaged, or of another user alone."""
    try:
        arrays = load_file(_path(key))
        return LayerTable(arrays["ids"], {name: arrays[name] for name in MEASURES})
    except (OSError, SafetensorError, KeyError):
        return None


def keep_layers(key: str, table: LayerTable) -> None:
    """Cache layer statistics: a record does not keep perturbed inputs, and running the attack again is expensive."""
    arrays = {"ids": table.ids, **{name: np.ascontiguousarray(table.values[name]) for name in MEASURES}}
    path = _path(key)
    write_atomic(path, lambda partial: save_file(arrays, partial))


def _path(key: str) -> Path:
    # The key of the record covers everything that the perturbed inputs depend on, but not the code of the measures.
    name = digest({"record": key, "code": code_digest("robustbench_wb.layers.measure_layers")})
    return cache_folder("layers") / f"{name}.safetensors"
