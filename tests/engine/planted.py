"""Attacks on planted fake defences by the public API."""

import json
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from robustbench_wb.api import run as harness
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.records.score_row import ScoreRow

Attack = Callable[..., list[ScoreRow]]
DEAD = """
import torch
from torch import nn


class Dead(torch.autograd.Function):
    @staticmethod
    def forward(context, images):
        return images.clone()

    @staticmethod
    def backward(context, gradient):
        return torch.zeros_like(gradient)
"""
"""Start of a model file: a function that passes its inputs on, with a gradient of zero."""


def attacker(
    folder: Path, source: str, weights: dict[str, Tensor], stressors: tuple[str, ...], **fields: object
) -> Attack:
    """Function that attacks a class of a source with given weights, and returns all rows but the clean one."""
    (folder / "defences.py").write_text(source)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "weights.safetensors")

    def attack(name: str, samples: int = 120, stressors: tuple[str, ...] = stressors) -> list[ScoreRow]:
        request = RunRequest.model_validate(
            {
                "variants": (f"{folder / 'defences.py'}:{name}",),
                "checkpoint": str(folder / "weights.safetensors"),
                "stressors": stressors,
                "samples": samples,
                "device": "cpu",
                **fields,
            }
        )
        return list(harness.run(request, str(folder / "results")).rows[1:])

    return attack


def failed(row: ScoreRow) -> dict[str, str]:
    """Grades of the checks that do not allow an A, by the name of the check."""
    return {check["name"]: check["grade"] for check in json.loads(row.checks) if check["grade"] != "A"}
