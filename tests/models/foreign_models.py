"""Models of other libraries, with random weights, for parity.

Neither model uses torchvision, but both libraries import it, and a torchvision built for another torch raises then.
Such a one is out of the way while they are imported: hidden from transformers, which can do without, and replaced for
timm, whose image loading is not used here.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import nn


class _Names(type):
    """A class in which every name is another such class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Names(name, (), {})


class _Hollow(ModuleType):
    """A module in which every name is an empty class."""

    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Names(name, (), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> Any:
        if name.partition(".")[0] == "torchvision":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Hollow(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        return None


def _works() -> bool:
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError):
        return False
    return True


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]


@contextmanager
def _without_torchvision(hollow: bool) -> Iterator[None]:
    if _works():
        yield
        return
    _forget()
    finder = _Finder()
    if hollow:
        sys.meta_path.insert(0, finder)
    else:
        sys.modules["torchvision"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hollow:
            sys.meta_path.remove(finder)
        _forget()


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def timm_model(name: str, **options: Any) -> nn.Module:
    with _without_torchvision(hollow=True):
        timm = importlib.import_module("timm")
    return _seeded(lambda: timm.create_model(name, pretrained=False, **options))


def bert_model(kind: str, **config: Any) -> nn.Module:
    """``kind`` is a class of transformers; no dropout."""
    with _without_torchvision(hollow=False):
        transformers = importlib.import_module("transformers")
        made = getattr(transformers, kind)
    plain = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return _seeded(lambda: made(transformers.BertConfig(**plain, **config)))
