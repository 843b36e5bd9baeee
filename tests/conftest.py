"""Fixtures that every room shares."""

import os
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from robustbench_wb.progress import Silent
from robustbench_wb.tasks.digits import DIGITS
from robustbench_wb.tasks.task import Dataset

# Tests run side by side in processes; models this small gain nothing from threads of their own.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest of the slow tests first, or one process would be alone with it at the end."""
    items.sort(key=_seconds, reverse=True)


def _seconds(item: pytest.Item) -> float:
    """What the mark says: ``slow(120)`` takes about two minutes, ``slow`` less than half a minute."""
    mark = item.get_closest_marker("slow")
    return float(mark.args[0]) if mark is not None and mark.args else 0.0


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A new cache folder for this test session, shared by its processes: no test touches the user's own."""
    base = tmp_path_factory.getbasetemp()
    folder = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache")
    before = os.environ.get("RBWB_CACHE_DIR")
    os.environ["RBWB_CACHE_DIR"] = folder
    yield folder
    if before is None:
        del os.environ["RBWB_CACHE_DIR"]
    else:
        os.environ["RBWB_CACHE_DIR"] = before


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The embedded task."""
    return DIGITS.load(None)


@pytest.fixture(scope="session")
def trained(cache: str, digits: Dataset) -> Callable[[str], nn.Module]:
    """A function that gives a variant trained on digits by the smoke recipe; trained once per session."""
    from robustbench_wb.engine.job import Prepared
    from robustbench_wb.engine.request import RunRequest

    models: dict[str, nn.Module] = {}

    def get(variant: str) -> nn.Module:
        if variant not in models:
            job = Prepared(RunRequest(variants=(variant,), device="cpu"), Silent())
            models[variant] = job.obtain(job.plan.tasks[0].subjects[0], job.datasets[0]).model
        return models[variant]

    return get
