"""The identity of a model that somebody brings covers everything that computed it, wherever that lies."""

import importlib
import json
import logging
import py_compile
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from robustbench_wb import RunResult, evaluate, explain, run
from robustbench_wb.engine.brought_model import changed_parts
from robustbench_wb.folders import cache_folder
from robustbench_wb.models import installed
from robustbench_wb.models.external import SUBJECTS
from robustbench_wb.models.providers import import_space
from robustbench_wb.store.record_store import RecordStore

MODEL = """
import importlib, importlib.util, json, os, runpy, sys
from pathlib import Path
import torch
from torch import nn
HERE = Path(__file__).parent
{head}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(64, 10)
        {init}

    def forward(self, images):
        {forward}
        return self.out((images * {scale} - 0.3).sin().flatten(1))

def make(shape):
    {make}
    return Net()
"""
HELPER = "def scale():\n    return {}\n"
FIRST, SECOND = 1.0, 40.0

Source = Mapping[str, str]

BY_CODE: dict[str, tuple[Source, str]] = {
    "a package, flat": ({"head": "from helper import scale", "scale": "scale()"}, "m/helper.py"),
    "a package, relative": ({"head": "from .helper import scale", "scale": "scale()"}, "m/helper.py"),
    "a package, relative and below": (
        {"head": "from .below import helper", "scale": "helper.scale()"},
        "m/below/helper.py",
    ),
    "a package by its own name": ({"head": "from m.helper import scale", "scale": "scale()"}, "m/helper.py"),
    "on the path": ({"head": "from elsewhere.helper import scale", "scale": "scale()"}, "path/elsewhere/helper.py"),
    "by import_module": (
        {"make": "global helper; helper = importlib.import_module('helper')", "scale": "helper.scale()"},
        "m/helper.py",
    ),
    "by import_module on the path": (
        {"init": "self.helper = importlib.import_module('elsewhere.helper').scale", "scale": "self.helper()"},
        "path/elsewhere/helper.py",
    ),
    "by exec": ({"head": "exec((HERE / 'helper.py').read_text())", "scale": "scale()"}, "m/helper.py"),
    "by runpy": ({"head": "scale = runpy.run_path(HERE / 'helper.py')['scale']", "scale": "scale()"}, "m/helper.py"),
    "by location": (
        {
            "head": "spec = importlib.util.spec_from_file_location('any', HERE / 'other/helper.py')\n"
            "any = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(any)",
            "scale": "any.scale()",
        },
        "m/other/helper.py",
    ),
    "on sys.path": (
        {"head": "sys.path.insert(0, str(HERE / 'other'))\nfrom helper import scale", "scale": "scale()"},
        "m/other/helper.py",
    ),
    "in forward": ({"forward": "from helper import scale", "scale": "scale()"}, "m/helper.py"),
    "in training alone": ({"forward": "if self.training: from .helper import scale"}, "m/helper.py"),
    "relative, in forward": ({"forward": "from .helper import scale", "scale": "scale()"}, "m/helper.py"),
}

BY_FILE: dict[str, Source] = {
    "when imported": {"head": "S = json.loads((HERE / 'stats.json').read_text())", "scale": "S"},
    "when built": {"init": "self.s = json.load(open(HERE / 'stats.json'))", "scale": "self.s"},
    "by descriptor": {
        "make": "global S; S = float(os.read(os.open(HERE / 'stats.json', os.O_RDONLY), 99))",
        "scale": "S",
    },
    "in forward": {"forward": "s = json.loads((HERE / 'stats.json').read_text())", "scale": "s"},
    "as a buffer": {
        "init": "self.register_buffer('s', torch.tensor(json.load(open(HERE / 'stats.json'))), persistent=False)",
        "scale": "self.s",
    },
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path / "path")


def write(folder: Path, text: Source, package: bool = True) -> str:
    """Write a model file; its reference."""
    folder.mkdir(parents=True, exist_ok=True)
    if package:
        (folder / "__init__.py").touch()
    parts = {"head": "", "init": "", "forward": "", "make": "", "scale": "1.0", **text}
    for name in ("init", "forward", "make"):
        parts[name] = parts[name] or "pass"
    (folder / "model.py").write_text(MODEL.format(**parts))
    return f"{folder / 'model.py'}:make"


def measured(reference: str, place: Path) -> RunResult:
    return run(
        variants=reference, results=str(place), recipe="none", tasks="digits", samples=10, suite="clean", device="cpu"
    )


def losses(result: RunResult, place: Path) -> list[float]:
    """Mean loss of each cell."""
    assert [row.error for row in result.rows] == [""] * len(result.rows)
    found = RecordStore(str(place)).find([row.key for row in result.rows])
    return [float(found[row.key].losses.mean()) for row in result.rows]


def edited(tmp_path: Path, reference: str, write_number: Callable[[float], object]) -> bool:
    """Run a model before and after an edit, which makes it another one; whether its losses changed."""
    write_number(FIRST)
    before = measured(reference, tmp_path / "r")
    assert measured(reference, tmp_path / "r").reused == 1
    write_number(SECOND)
    after = measured(reference, tmp_path / "r")
    assert (after.measured, after.reused) == (1, 0)
    return losses(after, tmp_path / "r") != losses(before, tmp_path / "r")


@pytest.mark.slow(1)
@pytest.mark.parametrize("kind", BY_CODE)
def test_a_changed_helper_is_another_model(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text, place = BY_CODE[kind]
    reference, helper = write(tmp_path / "m", text), tmp_path / place
    helper.parent.mkdir(parents=True, exist_ok=True)
    modules = set(sys.modules)
    with caplog.at_level(logging.WARNING):
        changed = edited(tmp_path, reference, lambda number: helper.write_text(HELPER.format(number)))
    assert changed == (kind != "in training alone")
    assert "is another model than in the last run: " in caplog.text
    assert "helper" in caplog.messages[-1]
    assert not {name for name in set(sys.modules) - modules if name.partition(".")[0] in ("helper", "elsewhere", "m")}


@pytest.mark.parametrize("kind", BY_FILE)
def test_a_changed_file_is_another_model_and_explain_names_it(kind: str, tmp_path: Path) -> None:
    reference = write(tmp_path / "m", BY_FILE[kind], package=False)
    stats = tmp_path / "m" / "stats.json"
    assert edited(tmp_path, reference, lambda number: stats.write_text(json.dumps(number)))
    stats.write_text(json.dumps(FIRST + 1))
    (cell,) = explain(
        results=str(tmp_path / "r"), variants=reference, recipe="none", tasks="digits", samples=10, suite="clean",
        device="cpu",
    ).cells  # fmt: skip
    (change,) = [change for change in cell.changes if change.field == "model_code"]
    assert "stats.json changed" in change.parts
    unknown = changed_parts("of another cache", str(change.new))
    assert unknown.startswith("one of model.py, stats.json, ")
    assert unknown.endswith(": the cache has no earlier digests of them")


def test_a_changed_plug_in_is_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = write(tmp_path / "path" / "theirs", {"head": "from elsewhere.helper import scale", "scale": "scale()"})
    assert place.endswith("model.py:make")
    points = {"theirs-net": [EntryPoint("theirs-net", "theirs.model:make", SUBJECTS.group)]}
    monkeypatch.setitem(SUBJECTS.__dict__, "_plugins", points)
    helper = tmp_path / "path" / "elsewhere" / "helper.py"
    helper.parent.mkdir()
    assert edited(tmp_path, "theirs-net", lambda number: helper.write_text(HELPER.format(number)))


def test_modules_without_source_count(tmp_path: Path) -> None:
    reference = write(tmp_path / "m", {"head": "from compiled import scale", "scale": "scale()"}, package=False)

    def compiled(number: float) -> None:
        (tmp_path / "helper.py").write_text(HELPER.format(number))
        py_compile.compile(str(tmp_path / "helper.py"), str(tmp_path / "m" / "compiled.pyc"))
        sys.modules.pop("compiled", None)

    assert edited(tmp_path, reference, compiled)
    sys.modules.pop("compiled")


def test_what_a_library_reads_when_it_is_imported_is_not_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first model of a process would have it."""
    library = tmp_path / "installed"
    library.mkdir()
    (library / "fake_library.py").write_text(f"open({str(tmp_path / 'settings')!r}).read()")
    (tmp_path / "settings").write_text("colours")
    roots = (*installed.library_roots(), library)
    for module in (installed, import_space):
        monkeypatch.setattr(module, "library_roots", lambda: roots)
    monkeypatch.syspath_prepend(library)
    one, other = (write(tmp_path / name, {"head": f"import fake_library; NAME = {name!r}"}) for name in "ab")
    assert measured(one, tmp_path / "r").measured == 1
    monkeypatch.delitem(sys.modules, "fake_library")
    assert measured(other, tmp_path / "r").measured == 1
    assert measured(one, tmp_path / "r").reused == 1


def test_comments_and_caches_are_no_part_of_it(tmp_path: Path) -> None:
    reference = write(tmp_path / "m", {"head": "from helper import scale\nopen(HERE / 'log', 'a').write('x')"})
    helper = tmp_path / "m" / "helper.py"
    helper.write_text(HELPER.format(1))
    measured(reference, tmp_path / "r")
    helper.write_text('"""Words."""\n' + HELPER.format(1) + "# more\n")
    assert measured(reference, tmp_path / "r").reused == 1


@pytest.mark.slow(1)
@pytest.mark.parametrize("form", ["list", "array", "module"])
def test_tensors_outside_of_the_weights_count(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number comes from the environment, which no digest sees."""
    number = "float(os.environ['SCALE'])"
    init = {
        "list": f"self.s = [torch.tensor({number})]",
        "array": f"import numpy; self.s = {{'a': numpy.array({number})}}",
        "module": f"self.s = [nn.Linear(1, 1)]; nn.init.constant_(self.s[0].weight, {number})",
    }[form]
    scale = {"list": "self.s[0]", "array": "float(self.s['a'])", "module": "self.s[0].weight.item()"}[form]
    reference = write(tmp_path / "m", {"init": init, "scale": scale})
    assert edited(tmp_path, reference, lambda value: monkeypatch.setenv("SCALE", str(value)))


def test_equal_identities_must_behave_equally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = write(tmp_path / "m", {"init": "self.s = float(os.environ['SCALE'])", "scale": "self.s"})
    monkeypatch.setenv("SCALE", "1")
    first = measured(reference, tmp_path / "r")
    monkeypatch.setenv("SCALE", "1.0000001")
    assert measured(reference, tmp_path / "r").reused == 1, "another processor rounds otherwise"
    monkeypatch.setenv("SCALE", "2")
    for place in ("r", "other"):
        result = measured(reference, tmp_path / place)
        (row,) = result.rows
        assert (row.status, result.exit_code) == ("error", 4)
        assert "behaves otherwise than before" in row.error
        assert "environment variable" in row.error
        assert "\n" not in row.error
    monkeypatch.setenv("SCALE", "1")
    again = measured(reference, tmp_path / "r")
    assert (again.reused, again.rows[0].key) == (1, first.rows[0].key)


def test_damaged_or_random_behaviour_stops_nothing(tmp_path: Path) -> None:
    reference = write(tmp_path / "m", {"forward": "images = images + (os.urandom(1)[0] / 999)"})
    for _ in range(2):
        assert measured(reference, tmp_path / "r").rows[0].status == "ok"
    reference = write(tmp_path / "n", {})
    measured(reference, tmp_path / "r")
    for path in cache_folder("models").iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
    assert measured(reference, tmp_path / "r").reused == 1


def test_weights_that_are_nan_cause_no_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    (tmp_path / "model.py").write_text("from torch import nn\nnet = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n")
    torch.save({"1.weight": torch.full((10, 64), torch.nan), "1.bias": torch.zeros(10)}, tmp_path / "nan.pth")
    (row,) = run(
        results=str(tmp_path / "r"), variants=f"{tmp_path}/model.py:net", checkpoint=str(tmp_path / "nan.pth"),
        recipe="none", tasks="digits", samples=4, suite="clean", device="cpu",
    ).rows  # fmt: skip
    assert (row.status, row.accuracy) == ("error", None)
    assert not recwarn.list


@pytest.mark.slow(2)
def test_buffers_made_in_forward_are_restored(tmp_path: Path) -> None:
    forward = "'s' in self._buffers or self.register_buffer('s', torch.ones(3)); self.t = torch.ones(len(images))"
    reference = write(tmp_path / "m", {"init": "self.register_buffer('t', torch.zeros(1))", "forward": forward})
    fields = {"variants": reference, "tasks": "digits", "samples": 30, "suite": "clean", "device": "cpu"}
    first, again = (run(results=str(tmp_path / place), **fields) for place in ("r", "s"))  # type: ignore[arg-type]
    assert (first.trained, again.trained) == (1, 0)
    assert losses(first, tmp_path / "r") == losses(again, tmp_path / "s")


def test_evaluate_leaves_no_buffers_behind() -> None:
    class Growing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.register_buffer("made", torch.ones(3))
            self.seen = torch.ones(len(images))
            return images.flatten(1)[:, :10]

    model = Growing()
    seen = model.seen
    evaluate(model, np.zeros((4, 1, 8, 8), np.float32), np.zeros(4, np.int64))
    assert dict(model.named_buffers()) == {"seen": seen}
    assert float(seen) == 0


NAMES = {
    "two folders": ({"a/utils.py": HELPER.format(1), "b/utils.py": HELPER.format(40)}, "from utils import scale"),
    "a library that is loaded": (
        {"a/datasets.py": HELPER.format(1), "b/datasets.py": HELPER.format(40)},
        "from datasets import scale",
    ),
    "the standard library": (
        {"a/random.py": HELPER.format(1), "b/random.py": HELPER.format(40)},
        "from random import scale",
    ),
    "in packages": (
        {
            "a/datasets.py": HELPER.format(1),
            "a/__init__.py": "",
            "b/datasets.py": HELPER.format(40),
            "b/__init__.py": "",
        },
        "from datasets import scale",
    ),
}


@pytest.mark.slow(2)
@pytest.mark.parametrize("kind", NAMES)
def test_two_modules_of_one_name_do_not_meet(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    files, head = NAMES[kind]
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "utils.py").write_text(HELPER.format(3))
    importlib.invalidate_caches()
    __import__("utils")  # the calling program has one as well
    program = sys.modules["utils"]
    for folder in ("a", "b"):
        write(tmp_path / folder, {"head": head, "scale": "scale()"}, package=False)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = run(
        variants=tuple(f"{tmp_path / folder / 'model.py'}:make" for folder in ("a", "b", "a")),
        results=str(tmp_path / "r"), recipe="none", tasks="digits", samples=10, suite="clean", device="cpu",
    )  # fmt: skip
    wanted = [measured(write(tmp_path / f"c{n}", {"scale": str(n)}), tmp_path / "r") for n in (1.0, 40.0)]
    assert losses(found, tmp_path / "r") == [*losses(wanted[0], tmp_path / "r"), *losses(wanted[1], tmp_path / "r")]
    assert sys.modules["utils"] is program
    assert sys.modules["datasets"] is datasets
    monkeypatch.delitem(sys.modules, "utils")


@pytest.mark.parametrize("name", ["torch", "numpy", "sklearn", "json", "datasets"])
def test_a_model_file_may_be_named_like_a_library(name: str, tmp_path: Path) -> None:
    """Beside it, files of such names are no obstacle either."""
    write(tmp_path / "m", {"head": "import numpy, torch"}, package=False)
    text = (tmp_path / "m" / "model.py").read_text()
    for other in {"torch", "numpy", name}:
        (tmp_path / "m" / f"{other}.py").write_text(f"import {name}\n{text}")
    before = sys.modules["torch"], sys.modules["numpy"]
    assert losses(measured(f"{tmp_path / 'm' / name}.py:make", tmp_path / "r"), tmp_path / "r")
    assert before == (torch, np) == (sys.modules["torch"], sys.modules["numpy"])
