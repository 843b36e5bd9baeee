"""Style that syntax trees can show: keyword arguments, one meaning per name, docstrings that stand alone."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import robustbench_wb

ROOT = Path(robustbench_wb.__file__).parent
PACKAGE = ROOT.name
MOST_POSITIONAL = 3
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

LEANING = re.compile(r"(Of|Those|That|The same|So the|It|Its|Them|Whom|What it|Which|And|But|Nothing|None)\b")
"""First words of a docstring that is understood only with its neighbour."""


@cache
def trees() -> dict[str, ast.Module]:
    """Syntax tree of each module of the package, by its name."""
    paths = sorted(ROOT.rglob("*.py"))
    names = [".".join((PACKAGE, *path.relative_to(ROOT).with_suffix("").parts)) for path in paths]
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in zip(names, paths, strict=True)}


@cache
def definitions() -> dict[str, dict[str, Definition]]:
    """Functions and classes at the top level of each module."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {
        module: {node.name: node for node in tree.body if isinstance(node, kinds)} for module, tree in trees().items()
    }


def imported(tree: ast.Module) -> dict[str, Definition]:
    """What a module imports from the package, by the name that it is bound to."""
    found: dict[str, Definition] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in definitions():
            own = definitions()[node.module]
            found |= {alias.asname or alias.name: own[alias.name] for alias in node.names if alias.name in own}
    return found


def plural_counts(tree: ast.Module) -> Iterator[ast.JoinedStr]:
    """Texts with ``len(...)`` right before a word that ends in s."""
    for text in (node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)):
        for value, after in pairwise(text.values):
            call = value.value if isinstance(value, ast.FormattedValue) else None
            counts = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "len"
            if counts and isinstance(after, ast.Constant) and re.match(r" [a-z]+s\b", str(after.value)):
                yield text


def methods(tree: ast.Module) -> dict[str, Definition]:
    """Methods of the classes of a module, by name."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {node.name: node for owner in classes for node in owner.body if isinstance(node, ast.FunctionDef)}


def own_calls(module: str) -> Iterator[tuple[ast.Call, Definition]]:
    """Calls of the package's own functions, classes and methods in a module, each with what is called."""
    tree = trees()[module]
    plain = definitions()[module] | imported(tree)
    through_self = methods(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if name in plain:
                yield node, plain[name]
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name) if name in through_self:
                yield node, through_self[name]


def takes_any_number(called: Definition) -> bool:
    """Whether a function takes ``*args``; a class does if its constructor does."""
    if isinstance(called, ast.ClassDef):
        made = [node for node in called.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
        return any(takes_any_number(node) for node in made)
    return called.args.vararg is not None


def test_own_functions_are_called_with_at_most_three_positional_arguments() -> None:
    long = [
        f"{module}:{call.lineno} {ast.unparse(call.func)} has {len(call.args)} positional arguments"
        for module in trees()
        for call, called in own_calls(module)
        if len(call.args) > MOST_POSITIONAL and not takes_any_number(called)
    ]
    assert not long, "\n".join(long)


def test_no_starred_tuple_hides_an_argument_list() -> None:
    hidden = [
        f"{module}:{call.lineno} {ast.unparse(call.func)}"
        for module in trees()
        for call, called in own_calls(module)
        if any(isinstance(argument, ast.Starred) for argument in call.args) and not takes_any_number(called)
    ]
    assert not hidden, "\n".join(hidden)


def positional_fields(node: ast.ClassDef) -> list[ast.AnnAssign]:
    """Fields of a data class that its constructor takes by position, unless all are keyword-only."""
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
    names = [ast.unparse(item.annotation) for item in fields]
    before = fields[: names.index("KW_ONLY")] if "KW_ONLY" in names else fields
    return [item for item in before if not re.search(r"ClassVar|init=False", ast.unparse(item))]


def test_data_classes_of_more_than_three_fields_are_built_by_keyword() -> None:
    positional = []
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                fields = positional_fields(node)
                for decorator in node.decorator_list:
                    text = ast.unparse(decorator)
                    if text.startswith("dataclass") and len(fields) > MOST_POSITIONAL and "kw_only=True" not in text:
                        positional.append(f"{module}:{node.lineno} {node.name}")
    assert not positional, "\n".join(positional)


def test_a_public_class_name_has_one_meaning() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module)
    twice = {name: modules for name, modules in places.items() if len(modules) > 1}
    assert not twice


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Docstrings of modules, classes, functions and attributes, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | Definition):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text
            for before, after in pairwise(node.body):
                match after:
                    case ast.Expr(value=ast.Constant(value=str(text))) if isinstance(
                        before, ast.AnnAssign | ast.Assign
                    ):
                        yield after.lineno, text


def test_docstrings_stand_alone() -> None:
    leaning = [
        f"{module}:{line} {text.splitlines()[0]}"
        for module, tree in trees().items()
        for line, text in docstrings(tree)
        if LEANING.match(text.strip())
    ]
    assert not leaning, "\n".join(leaning)


def test_printed_counts_agree_with_their_noun() -> None:
    """``counted(len(rows), "row")`` writes ``1 row``."""
    printing = {
        name: tree
        for name, tree in trees().items()
        if name.split(".")[1:2] in (["report"], ["cli"]) and ".html" not in name
    }
    assert not [f"{name}:{text.lineno}" for name, tree in printing.items() for text in plural_counts(tree)]
