"""Shortcut baselines of a task as models: fitted instead of trained, evaluated wherever no gradient is needed."""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

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

if TYPE_CHECKING:  # few tasks have shortcuts, and scipy.optimize takes a fifth of a second
    from robustbench_wb.training.shortcuts.shortcut import Shortcut


def shortcut_plans(dataset: Dataset) -> list[SubjectPlan]:
    """Plans of the shortcut baselines of a task."""
    return [
        SubjectPlan(
            name=f"{SHORTCUT}{name}",
            source=SHORTCUTS.get(name),
            size="",
            recipe_name="",
            recipe=AS_BUILT,
            checkpoint=None,
        )
        for name in dataset.shortcuts
    ]


def is_evaluated(plan: SubjectPlan, ladder: Ladder) -> bool:
    """Whether a model is evaluated under a stressor. Shortcuts are not attacked: they have no gradient."""
    return not plan.is_shortcut or isinstance(ladder.rungs[0], Clean | ModelFreeStressor)


def fitted(plan: SubjectPlan, dataset: Dataset, device: torch.device) -> Subject:
    """Fit the shortcut of a plan, or find it in the cache."""
    kind, shape = cast("type[Shortcut]", plan.source), cast("TextShape", dataset.shape)
    code = code_digest(kind.__module__)
    key: dict[str, object] = {"shortcut": kind.name, "code": code, "data": dataset.train.digest(), "shape": shape}
    fit = partial(_fit, kind(shape), dataset)
    tensors, seconds = load_or_make_arrays(key, plan.name, "store", fill=fit, read=_read, kind="shortcuts")

    def ready() -> nn.Module:
        model = kind(shape)
        model.load_state_dict(tensors)
        return model.to(device).eval()

    numbers = sum(tensor.numel() for tensor in tensors.values())
    card = SubjectCard(parameters=numbers, weights=weights_digest(tensors), train_seconds=seconds, trained=False)
    return Subject(card=card, model_code=code, dataset=dataset, make=ready)


def _fit(model: "Shortcut", dataset: Dataset, folder: Path) -> dict[str, object]:
    started = time.perf_counter()
    model.fit(dataset.train)
    for name, tensor in model.state_dict().items():
        write_array(folder / f"{name}.npy", tensor.numpy())
    return {"tensors": list(model.state_dict()), "seconds": time.perf_counter() - started}


def _read(folder: Path, card: Any) -> tuple[dict[str, Tensor], float]:
    return {name: torch.from_numpy(np.load(folder / f"{name}.npy")) for name in card["tensors"]}, float(card["seconds"])
