"""A task's shortcut baselines as subjects: fitted instead of trained, measured wherever no model has to be asked."""

import time
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_wb.engine.plan import Ladder, SubjectPlan
from robustbench_wb.engine.subject import Subject
from robustbench_wb.models.shape import TextShape
from robustbench_wb.models.weights import weights_digest
from robustbench_wb.records.names import SHORTCUT
from robustbench_wb.records.record import SubjectCard
from robustbench_wb.source import code_digest
from robustbench_wb.stressors.clean import Clean
from robustbench_wb.stressors.model_free import ModelFreeStressor
from robustbench_wb.tasks.array_cache import load_or_make_arrays, write_array
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.training.recipe import AS_BUILT
from robustbench_wb.training.shortcuts.catalogue import SHORTCUTS
from robustbench_wb.training.shortcuts.shortcut import Shortcut


def shortcut_plans(dataset: Dataset) -> list[SubjectPlan]:
    """The shortcuts that stand beside every score of a task."""
    return [SubjectPlan(f"{SHORTCUT}{name}", SHORTCUTS.get(name), "", "", AS_BUILT, None) for name in dataset.shortcuts]


def meets(plan: SubjectPlan, ladder: Ladder) -> bool:
    """Whether a subject is measured under a stressor: shortcuts have no gradient, and are too cheap to be searched."""
    return not plan.is_shortcut or isinstance(ladder.rungs[0], Clean | ModelFreeStressor)


def fitted(plan: SubjectPlan, dataset: Dataset, device: torch.device) -> Subject:
    """The shortcut of a plan, from the cache or fitted now."""
    kind, shape = cast("type[Shortcut]", plan.source), cast("TextShape", dataset.shape)
    code = code_digest(kind.__module__)
    key: dict[str, object] = {"shortcut": kind.name, "code": code, "data": dataset.train.digest(), "shape": shape}
    fit = partial(_fit, kind(shape), dataset)
    tensors, seconds = load_or_make_arrays(key, plan.name, "store", fit, _read, "shortcuts")

    def ready() -> nn.Module:
        model = kind(shape)
        model.load_state_dict(tensors)
        return model.to(device).eval()

    numbers = sum(tensor.numel() for tensor in tensors.values())
    card = SubjectCard(numbers, weights_digest(tensors), seconds, trained=False)
    return Subject(card, code, dataset, ready)


def _fit(model: Shortcut, dataset: Dataset, folder: Path) -> dict[str, object]:
    started = time.perf_counter()
    model.fit(dataset.train)
    for name, tensor in model.state_dict().items():
        write_array(folder / f"{name}.npy", tensor.numpy())
    return {"tensors": list(model.state_dict()), "seconds": time.perf_counter() - started}


def _read(folder: Path, card: Any) -> tuple[dict[str, Tensor], float]:
    return {name: torch.from_numpy(np.load(folder / f"{name}.npy")) for name in card["tensors"]}, float(card["seconds"])
