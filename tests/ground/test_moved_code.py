"""A digest of code says what the code does: names and places of internal modules do not count, everything else does."""

import ast
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_wb.source import PACKAGE_ROOT, SourceTree, code_digest
from robustbench_wb.syntax import MARKER

_numbers = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("code")


def digest_of(folder: Path, files: Mapping[str, str], module: str = "pkg.main") -> str:
    """The digest of one module of a package that is written to a folder of its own."""
    top = module.partition(".")[0]
    root = folder / str(next(_numbers)) / top
    for name, text in {"__init__": "", **files}.items():
        path = root.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return code_digest(module, root=root)


USES = {
    "from module import name": ("from pkg.{a} import f", "f(2)"),
    "from package import module": ("from pkg import {a}", "{a}.f(2)"),
    "under another name": ("from pkg import {a} as helper", "helper.f(2)"),
    "import of a module": ("import pkg.{a}", "pkg.{a}.f(2)"),
    "import under another name": ("import pkg.{a} as helper", "helper.f(2)"),
    "relative": ("from . import {a}", "{a}.f(2)"),
    "relative name": ("from .{a} import f", "f(2)"),
}
BODY = "import math\n{imports}\n\ndef g(x):\n    return {use} * math.pi\n"


@pytest.mark.parametrize("use", USES)
def test_a_renamed_helper_is_the_same_and_an_edited_one_is_not(folder: Path, use: str) -> None:
    def digest(helper: str, code: str = "def f(n):\n    return n + 1\n") -> str:
        imports, expression = (part.format(a=helper) for part in USES[use])
        return digest_of(folder, {"main": BODY.format(imports=imports, use=expression), helper: code})

    first = digest("helper")
    assert digest("a_tool") == digest("z_tool") == first
    assert digest("helper", "def f(n):\n    return n - 1\n") != first


@pytest.mark.parametrize("use", USES)
def test_two_helpers_that_change_places_are_not_the_same(folder: Path, use: str) -> None:
    def digest(one: str, other: str) -> str:
        imports, expression = USES[use]
        lines = [imports.format(a=name).replace("import f", f"import f as {name}f") for name in ("one", "other")]
        lines = [
            line.replace("as helper", f"as {name}_helper") for name, line in zip(("one", "other"), lines, strict=True)
        ]
        calls = [expression.format(a=name).replace("helper.", f"{name}_helper.") for name in ("one", "other")]
        if "import f" in imports:
            calls = ["onef(2)", "otherf(2)"]
        main = BODY.format(imports="\n".join(lines), use=f"({calls[0]} - {calls[1]})")
        return digest_of(folder, {"main": main, "one": one, "other": other})

    plus, minus = "def f(n):\n    return n + 1\n", "def f(n):\n    return n - 1\n"
    assert digest(plus, minus) == digest(plus, minus)
    assert len({digest(plus, minus), digest(minus, plus), digest(plus, plus), digest(minus, minus)}) == 4


def test_a_module_moves_into_a_package_and_the_package_is_renamed(folder: Path) -> None:
    helper = "def f(n):\n    return n + 1\n"
    main = "from {home} import f\nfrom os import path\nX = f(2), path\n"
    first = digest_of(folder, {"main": main.format(home="pkg.helper"), "helper": helper})
    moved = {"main": main.format(home="pkg.deep.er.tool"), "deep.__init__": '"""Docs."""', "deep.er.__init__": ""}
    assert digest_of(folder, {**moved, "deep.er.tool": helper}) == first
    other = {"main": main.format(home="other.helper"), "helper": helper}
    assert digest_of(folder, other, "other.main") == first
    relative = {"deep.main": main.format(home="..helper"), "deep.__init__": "", "helper": helper}
    assert digest_of(folder, relative, "pkg.deep.main") == first
    runs = {**moved, "deep.er.__init__": "import torch\ntorch.set_num_threads(1)\n"}
    assert digest_of(folder, {**runs, "deep.er.tool": helper}) != first


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("from pkg.a import f\nfrom pkg.b import g\nX = f, g", "from pkg.b import g\nfrom pkg.a import f\nX = f, g"),
        ("import math\nimport os\nX = math, os", "import os\nimport math\nX = math, os"),
        ("from pkg.a import f, g\nX = f, g", "from pkg.a import g\nfrom pkg.a import f\nX = f, g"),
        ("from pkg import a\nX = a.f", "from pkg import a as b\nX = b.f"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg.b import g\nX = 1", "X = 1"),
        ("class A:\n    x: int = 1\n    'Says what x is.'\n", "class A:\n    x: int = 1\n"),
    ],
)
def test_what_is_the_same_program(folder: Path, one: str, other: str) -> None:
    helpers = {"a": "def f():\n    return 1\ndef g():\n    return 3\n", "b": "def g():\n    return 2\n"}
    assert digest_of(folder, {"main": one, **helpers}) == digest_of(folder, {"main": other, **helpers})


STATE = "count = 0\ndef f():\n    global count\n    count += 1\n    return count\n"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Which of two bindings stands.
        ("from pkg.a import f\nfrom pkg.b import f", "from pkg.b import f\nfrom pkg.a import f"),
        ("from pkg.a import *\nfrom pkg.b import *", "from pkg.b import *\nfrom pkg.a import *"),
        ("from pkg.a import f as g", "from pkg.a import f as h"),
        ("from pkg.a import f", "from pkg.a import g"),
        ("from pkg.a import f\nf = 1", "f = 1\nfrom pkg.a import f"),
        ("def h():\n    from pkg.a import f\n    return f()", "from pkg.a import f\ndef h():\n    return f()"),
        # Two modules of one content have a state each.
        ("from pkg import c, d\nX = c.f() + d.f()", "from pkg import c, d\nX = c.f() + c.f()"),
        ("from pkg import c, d\nX = c.f() + d.f()", "from pkg import c\nX = c.f() + c.f()"),
        ("from pkg.c import f\nfrom pkg.d import f as g", "from pkg.c import f\nfrom pkg.c import f as g"),
        ("from pkg import uses_c, uses_d", "from pkg import uses_c, also_uses_c"),
        # What is reached by text.
        ("from pkg import a, b\nX = getattr(a, 'f')", "from pkg import a, b\nX = getattr(b, 'f')"),
        ("from pkg import a, b\nX = eval('a.f')", "from pkg import b as a, a as b\nX = eval('a.f')"),
        ("from pkg import a, b\nx: 'a.T' = 1", "from pkg import b as a, a as b\nx: 'a.T' = 1"),
        ("from pkg import names\nX = names.x.f", "from pkg import swapped\nX = swapped.x.f"),
        ("from pkg.names import x\nX = x.f", "from pkg.swapped import x\nX = x.f"),
        ("from pkg import names\nX = getattr(names, 'x')", "from pkg import swapped\nX = getattr(swapped, 'x')"),
        # A name that is a module in one place only.
        ("from pkg import a\ndef h(a):\n    return a.f", "from pkg import b\ndef h(b):\n    return b.f"),
        ("if TYPE_CHECKING:\n    from pkg.b import g", "X = 1"),
        ("TYPE_CHECKING = True\nif TYPE_CHECKING:\n    from pkg.b import f", "TYPE_CHECKING = True"),
        ("from pkg.sub import y", "from pkg.other import y"),
    ],
)
def test_what_is_another_program(folder: Path, one: str, other: str) -> None:
    helpers = {
        "a": "def f():\n    return 1\ndef g():\n    return 3\n",
        "b": "def f():\n    return 2\n",
        "c": STATE,
        "d": STATE,
        "uses_c": "from pkg.c import f\nX = f()\n",
        "uses_d": "from pkg.d import f\nX = f()\n",
        "also_uses_c": "from pkg.c import f\nX = f()\n",
        "names": "from pkg import a as x\nfrom pkg import b as y\n",
        "swapped": "from pkg import b as x\nfrom pkg import a as y\n",
        "sub.__init__": "from pkg import a as y\n",
        "sub.y": "Z = 1\n",
        "other.__init__": "",
        "other.y": "Z = 1\n",
    }
    assert digest_of(folder, {"main": one, **helpers}) != digest_of(folder, {"main": other, **helpers})


def test_modules_that_import_each_other(folder: Path) -> None:
    def digest(names: tuple[str, str], module: str, factor: int = 2) -> str:
        one, other = names
        files = {
            one: f"from pkg import {other}\ndef f(n):\n    return n and {other}.g(n - 1)\n",
            other: f"from pkg.{one} import f\nimport pkg.{other}\ndef g(n):\n    return {factor} * f(n)\n",
        }
        return digest_of(folder, files, f"pkg.{module}")

    first = digest(("a", "b"), "a")
    assert digest(("b", "a"), "b") == digest(("x", "y"), "x") == first
    assert digest(("a", "b"), "b") != first  # what is entered by the other one
    assert digest(("a", "b"), "a", 3) != first


def test_a_package_that_names_its_parts(folder: Path) -> None:
    def digest(layer: str = "layer", code: str = "W = 1", top: str = "pkg") -> str:
        files = {
            "__init__": f"from {top}.main import Net\nfrom .{layer} import W\n",
            "main": f"from {top} import {layer}\nclass Net:\n    w = {layer}.W\n",
            layer: f"import {top}\n{code}\n",
        }
        return digest_of(folder, files, f"{top}.main")

    assert digest() == digest("renamed") == digest(top="other")
    assert digest() != digest(code="W = 2")


def test_what_a_type_checker_reads_may_stand_beside_what_runs(folder: Path) -> None:
    guard = "from typing import TYPE_CHECKING, Any\nif TYPE_CHECKING:\n    from pkg.a import T\nelse:\n    T = Any\n"
    plain = "from typing import Any\nT = Any\n"
    files = {"a": "T = int\n"}
    assert digest_of(folder, {"main": guard, **files}) == digest_of(folder, {"main": plain, **files})


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_renaming_keeps_a_digest_and_any_edit_changes_it(folder: Path, data: st.DataObject) -> None:
    """Random packages, circles included: modules that import each other by name, by module and inside functions."""
    count = data.draw(st.integers(2, 6))
    links = data.draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1), st.integers(0, 3))))
    chained = [(at, at + 1, at % 4) for at in range(count - 1)]  # so that the first reaches all
    values = data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    names = data.draw(st.permutations([f"m{at}" for at in range(count)]))

    def written(names: list[str], values: list[int]) -> dict[str, str]:
        texts = {}
        for at, name in enumerate(names):
            own = dict.fromkeys((to, how) for start, to, how in [*chained, *links] if start == at)
            # As isort would have it: in the order of the names.
            ordered = sorted(own, key=lambda link: names[link[0]])
            lines = [
                (
                    f"from pkg.{names[to]} import V as v{to}_{how}",
                    f"from pkg import {names[to]}",
                    f"import pkg.{names[to]}",
                    "",
                )[how]
                for to, how in ordered
            ]
            uses = [
                (
                    f"v{to}_{how}",
                    f"{names[to]}.V",
                    f"pkg.{names[to]}.V",
                    f"(lambda: __builtins__)() or {to}",
                )[how]
                for to, how in own
            ]
            inside = [f"    from pkg.{names[to]} import f as g" for to, how in own if how == 3][:1]
            body = ["def f():", *inside, f"    return [{', '.join(uses)}]", f"V = {values[at]}"]
            texts[name] = "\n".join([*lines, *body]) + "\n"
        return texts

    plain = [f"m{at}" for at in range(count)]
    first = digest_of(folder, written(plain, values), "pkg.m0")
    assert digest_of(folder, written(names, values), f"pkg.{names[0]}") == first
    edited = data.draw(st.integers(0, count - 1))
    changed = [value + 7 * (at == edited) for at, value in enumerate(values)]
    assert digest_of(folder, written(plain, changed), "pkg.m0") != first


MOVES = {
    "robustbench_wb.rng": "robustbench_wb.numbers.counter_based",
    "robustbench_wb.norms": "robustbench_wb.a_ball",
    "robustbench_wb.spec": "robustbench_wb.zspec",
    "robustbench_wb.errors": "robustbench_wb.words.failures",
    "robustbench_wb.progress": "robustbench_wb.words.told",
    "robustbench_wb.registry": "robustbench_wb.words.named",
    "robustbench_wb.models.sockets": "robustbench_wb.models.interfaces",
    "robustbench_wb.models.residual": "robustbench_wb.models.skips.plain",
    "robustbench_wb.models.attention.base": "robustbench_wb.stressors.attending",
    "robustbench_wb.stressors.names": "robustbench_wb.stressors.table",
    "robustbench_wb.stressors.stressor": "robustbench_wb.stressors.zbase",
    "robustbench_wb.stressors.attacks.pgd": "robustbench_wb.stressors.descent",
    "robustbench_wb.stressors.attacks.active_set_search": "robustbench_wb.stressors.attacks.engine.hunt",
    "robustbench_wb.stressors.corruptions.fog": "robustbench_wb.stressors.weather.fog",
    "robustbench_wb.training.loop": "robustbench_wb.fit.optimise",
}
"""Modules that a refactoring might move."""


def moved_copy(folder: Path) -> Path:
    """A copy of this package with other module names, every import rewritten, and imports in another order."""
    root = folder / "robustbench_wb"
    shutil.copytree(PACKAGE_ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    for old, new in MOVES.items():
        source, target = (folder.joinpath(*name.split(".")).with_suffix(".py") for name in (old, new))
        target.parent.mkdir(exist_ok=True)
        (target.parent / "__init__.py").touch()
        source.rename(target)
    for path in root.rglob("*.py"):
        code = path.read_text().replace("{_CORRUPTIONS}.fog:", "robustbench_wb.stressors.weather.fog:")
        code = code.replace("{_HERE}.residual:", "robustbench_wb.models.skips.plain:")
        path.write_text(ast.unparse(_Moved(code).tree))
    return root


class _Moved(ast.NodeTransformer):
    def __init__(self, code: str) -> None:
        self.local = {"rng": "counter_based"}
        self.tree = ast.fix_missing_locations(self.visit(ast.parse(code)))

    def visit_Module(self, node: ast.Module) -> ast.Module:
        self.generic_visit(node)
        documented = bool(node.body) and isinstance(node.body[0], ast.Expr)
        at = int(documented)
        end = at
        while end < len(node.body) and isinstance(node.body[end], ast.Import | ast.ImportFrom):
            end += 1
        node.body[at:end] = reversed(node.body[at:end])
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        node.module = MOVES.get(node.module or "", node.module)
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            if whole in MOVES:
                node.module, _, alias.name = MOVES[whole].rpartition(".")
        return node

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.local.get(node.id, node.id)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if isinstance(node.value, str):
            module, colon, attribute = node.value.partition(":")
            node.value = MOVES.get(module, module) + colon + attribute
        return node


def digested_modules() -> list[str]:
    """Modules of this package whose code digests stand in identities."""
    rooms = (
        "stressors",
        "models/attention",
        "models/zoo",
        "training/shortcuts",
        "tasks",
        "layers",
        "engine/credibility",
    )
    paths = [path for room in rooms for path in sorted((PACKAGE_ROOT / room).rglob("*.py"))]
    names = [".".join(("robustbench_wb", *path.relative_to(PACKAGE_ROOT).with_suffix("").parts)) for path in paths]
    extra = ["robustbench_wb.models.assemble", "robustbench_wb.models.backbone", "robustbench_wb.training.loop"]
    return [*(name for name in names if not name.endswith("__init__")), *extra]


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return moved_copy(tmp_path_factory.mktemp("moved"))


@pytest.mark.slow(7)
def test_this_package_with_moved_modules_has_the_same_digests(moved: Path) -> None:
    here, there = SourceTree(PACKAGE_ROOT), SourceTree(moved)
    names = digested_modules()
    before = {name: here.digest([name]) for name in names}
    after = {name: there.digest([MOVES.get(name, name)]) for name in names}
    assert {name for name in names if before[name] != after[name]} == set()


def test_one_operator_of_a_helper_counts_where_the_helper_is_used(moved: Path, tmp_path: Path) -> None:
    root = tmp_path / "robustbench_wb"
    shutil.copytree(moved, root)
    helper = root / "stressors" / "attending.py"
    code = helper.read_text()
    assert " * " in code
    helper.write_text(code.replace(" * ", " / ", 1))
    before, after = SourceTree(moved), SourceTree(root)
    names = [
        "robustbench_wb.models.attention.softmax",
        "robustbench_wb.models.feedforward",
        "robustbench_wb.fit.optimise",
    ]
    assert [before.digest([name]) == after.digest([name]) for name in names] == [False, True, True]


@pytest.mark.slow(20)
def test_a_run_of_a_package_with_moved_modules_finds_what_was_measured_before(moved: Path, tmp_path: Path) -> None:
    asked = [
        "--variant",
        "vit",
        "--recipe",
        "none",
        "--samples",
        "8",
        "--device",
        "cpu",
        "--json",
        "--stressor",
        "fog;severity=1",
    ]

    def typed(command: str, path: Path) -> str:
        environment = {**os.environ, "PYTHONPATH": str(path), "RBWB_CACHE_DIR": str(tmp_path / "cache")}
        words = [sys.executable, "-m", "robustbench_wb", command, *asked, "--results", str(tmp_path / "results")]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    typed("run", PACKAGE_ROOT.parent)
    assert [cell["outcome"] for cell in json.loads(typed("explain", moved.parent))["cells"]] == ["reused"] * 2


def test_modules_that_are_left_out_compute_nothing() -> None:
    tree = SourceTree(PACKAGE_ROOT)
    paths = [path for path in sorted(PACKAGE_ROOT.rglob("*.py")) if MARKER in path.read_text()]
    names = [".".join(("robustbench_wb", *path.relative_to(PACKAGE_ROOT).with_suffix("").parts)) for path in paths]
    files = [tree.file(name.removesuffix(".__init__")) for name in names]
    marked = {file.name for file in files if file.left_out}
    assert {f"robustbench_wb{part}" for part in ("", ".errors", ".registry", ".source", ".progress")} <= marked
    for file in files:
        if file.name in marked:
            for alias in file.aliases:
                top = alias.module.partition(".")[0]
                home = tree.target(alias) or alias.module
                assert top in sys.stdlib_module_names or home in marked, f"{file.name} has {MARKER} and uses {alias}"
                assert top not in ("math", "random", "statistics", "array", "decimal"), f"{file.name} computes"
