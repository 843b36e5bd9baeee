"""Fixtures that every room shares."""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from torch import nn

from robustbench_wb.progress import SilentProgress
from robustbench_wb.tasks.digits import DIGITS
from robustbench_wb.tasks.task import Dataset

# Tests run side by side in processes; models this small gain nothing from threads of their own.
torch.set_num_threads(1)
# No deadline: how long an example takes says how busy the machine is. Where a property needs more, it says so itself.
settings.register_profile("budget", deadline=None, max_examples=50)
settings.load_profile("budget")


class MainJob(NamedTuple):
    """How the README's main job went, and where: look, or copy, but change nothing."""

    folder: Path
    returncode: int
    stdout: str
    stderr: str


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without the garbage collector, which takes a third of that time, and never look at them again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest of the slow tests first, or one process would be alone with it at the end; and last what would
    have to wait for the main job."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> tuple[bool, float]:
    """``slow(120)`` takes about two minutes, ``slow`` less than one."""
    mark = item.get_closest_marker("slow")
    seconds = float(mark.args[0]) if mark is not None and mark.args else 0.0
    return "main_job" in getattr(item, "fixturenames", ()), -seconds


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new folder for this test session, the same for all its processes."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def cache(common: Path) -> Iterator[str]:
    """A new cache folder for this test session, shared by its processes: no test touches the user's own.

    ``RBWB_TESTS_CACHE`` names one that several sessions share, as those of one ``nox`` do: subjects are trained once.
    """
    folder = os.environ.get("RBWB_TESTS_CACHE") or str(common / "cache")
    before = os.environ.get("RBWB_CACHE_DIR")
    os.environ["RBWB_CACHE_DIR"] = folder
    yield folder
    if before is None:
        del os.environ["RBWB_CACHE_DIR"]
    else:
        os.environ["RBWB_CACHE_DIR"] = before


@pytest.fixture(scope="module", autouse=True)
def short_probe(request: pytest.FixtureRequest) -> Iterator[None]:
    """The examination of a subject before it is attacked takes most of a small run: here it looks at fewer samples.

    ``full_probe`` marks the modules that test what it finds, or compare their run with one of another process.
    """
    from robustbench_wb.engine.credibility import probe_choice as choose
    from robustbench_wb.engine.credibility.image_probe import ImageProbe
    from robustbench_wb.engine.credibility.segmentation_probe import SegmentationProbe
    from robustbench_wb.engine.credibility.word_probe import WordProbe

    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("full_probe") is None:
            patch.setattr(choose, "ImageProbe", partial(ImageProbe, looked_at=16, steps=10, queries=20))
            patch.setattr(choose, "WordProbe", partial(WordProbe, looked_at=16))
            patch.setattr(choose, "SegmentationProbe", partial(SegmentationProbe, looked_at=16, steps=10, queries=20))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_process() -> Iterator[None]:
    """A run stays in this process unless it asks for others. A long one would start some without being asked: they
    import everything again, and know nothing of what a test replaces."""
    from robustbench_wb.engine import executors

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executors, "PAYS_SECONDS", float("inf"))
        yield


@pytest.fixture(scope="session")
def main_job(common: Path, cache: str) -> MainJob:
    """The README's main job, typed once in a process of its own, by whichever test asks first; the others wait."""
    folder, told = common / "main job", common / "main job.json"
    with FileLock(common / "main job.lock"):
        if not told.exists():
            folder.mkdir(exist_ok=True)
            command = [sys.executable, "-m", "robustbench_wb", "run", "--suite", "adversarial"]
            environment = {**os.environ, "RBWB_CACHE_DIR": cache}
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            told.write_text(json.dumps([done.returncode, done.stdout, done.stderr]))
        return MainJob(folder, *json.loads(told.read_text()))


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The embedded task."""
    return DIGITS.load(None)


@pytest.fixture(scope="session")
def trained(cache: str, digits: Dataset) -> Callable[[str], nn.Module]:
    """A function that gives a variant trained on digits by the smoke recipe; trained once per session."""
    from robustbench_wb.engine.prepared_run import PreparedRun
    from robustbench_wb.engine.request import RunRequest

    models: dict[str, nn.Module] = {}

    def get(variant: str) -> nn.Module:
        if variant not in models:
            job = PreparedRun(RunRequest(variants=(variant,), device="cpu"), SilentProgress())
            models[variant] = job.obtain(job.plan.tasks[0].subjects[0], job.datasets[0]).model
        return models[variant]

    return get
