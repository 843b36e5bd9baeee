"""Models of other libraries, with random weights, for parity."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from robustbench_wb.models.providers.library import load_library


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def timm_model(name: str, **options: Any) -> nn.Module:
    timm = load_library("timm", "timm")
    return _seeded(lambda: timm.create_model(name, pretrained=False, **options))


def bert_model(kind: str, **config: Any) -> nn.Module:
    """``kind`` is a class of transformers; no dropout."""
    transformers = load_library("transformers", "hf")
    plain = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return _seeded(lambda: getattr(transformers, kind)(transformers.BertConfig(**plain, **config)))
