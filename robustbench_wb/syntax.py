"""The canonical text of one source file: its syntax tree without prose, layout, and the names of internal modules."""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

CHANGES_NO_NUMBER: Final = "it reads source code and computes nothing that is measured"

MARKER: Final = "CHANGES_NO_NUMBER"
"""Name of the constant that a module has at its top level when no number can depend on the module. The value says why.
A marker inside the module survives when the module is moved or renamed; a list of paths would not."""

_DYNAMIC: Final = frozenset({"globals", "locals", "eval", "exec", "__import__"})
"""Functions that reach a name by its text."""

Statements = list[ast.stmt]


class ModuleReference(ast.expr):
    """Stands for an internal module in a syntax tree. Its text is filled in when all modules are known."""

    _fields = ("module",)

    def __init__(self, module: str) -> None:
        super().__init__()
        self.module = module
        """Dotted name; after ``=`` the module counts with its name and the names of all that it imports."""


class Imports(ast.stmt):
    """Consecutive import statements. Their order is kept only where it decides which of two bindings stands."""

    _fields = ("records", "ordered")

    def __init__(self, records: list[str], ordered: bool) -> None:
        super().__init__()
        self.records, self.ordered = records, ordered


def canonical_ast(node: object) -> str:
    """A text of a syntax tree without positions, prose and empty fields; stable across Python versions.

    Prose is every statement that is a bare string: docstrings, and what is written below a field.
    """
    if isinstance(node, ModuleReference):
        return reference(node.module)
    if isinstance(node, Imports):
        return ",".join(node.records) if node.ordered else f"\1{chr(2).join(node.records)}\1"
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if name not in ("type_comment", "kind"))
        body = ",".join(f"{name}={canonical_ast(value)}" for name, value in fields if value)
        constant = f"={type(node.value).__name__}:{node.value!r}" if isinstance(node, ast.Constant) else ""
        return f"{type(node).__name__}{constant}({body})"
    if isinstance(node, list):
        return f"[{','.join(canonical_ast(item) for item in node if not is_prose(item))}]"
    return repr(node)


def reference(module: str) -> str:
    """The place of a module in a text. Source files, and so texts, have no zero bytes of their own."""
    return f"\0{module}\0"


def referenced(text: str) -> list[str]:
    """The modules that a text has places for, each once; see ``ModuleReference`` for ``=``."""
    return list(dict.fromkeys(re.findall("\0([^\0]*)\0", text)))


def filled(text: str, names: Mapping[str, str]) -> str:
    """The text with ``names`` in the places of modules, and every run of imports in order."""
    plain = re.sub("\0([^\0]*)\0", lambda found: names[found[1]], text)
    parts = plain.split("\1")
    return "".join(",".join(sorted(part.split("\2"))) if at % 2 else part for at, part in enumerate(parts))


class Alias(NamedTuple):
    """One name that an import statement binds."""

    module: str
    """Absolute dotted name of the module that is imported, or imported from; with leading dots where it has none."""
    name: str
    """What is imported from the module: ``*`` for everything, empty for the module itself."""
    local: str
    """The name it is bound to; empty for ``import a.b``, which binds ``a``."""

    @property
    def bound(self) -> str:
        """The name that is bound."""
        return self.local or self.module.partition(".")[0]


class SourceFile:
    """One parsed source file and the names that it binds.

    What stands below ``if TYPE_CHECKING:`` never runs and is left out, with the import of that constant.

    Args:
        code: the bytes of the file.
        name: dotted name of the module.
        is_package: whether the file is an ``__init__.py``.

    Raises:
        SyntaxError: the file is not Python.
    """

    def __init__(self, code: bytes, name: str, is_package: bool) -> None:
        self.name, self.is_package = name, is_package
        tree = ast.parse(code)
        checked = _Checked(tree)
        self.tree: ast.Module = checked.visit(tree) if checked.flags else tree
        self.nodes = list(ast.walk(self.tree))
        self.left_out = any(MARKER in _targets(node) for node in self.tree.body)
        self.inert = all(is_prose(node) for node in self.tree.body)
        self.bound = {name for node in self.nodes for name in _bound_by(node)}
        self.aliases = [alias for node in self.nodes for alias in self.aliases_of(node)]
        top = [alias for node in _outside_functions(self.tree) for alias in self.aliases_of(node)]
        self.exported: dict[str, list[Alias]] = {}
        for alias in top:
            self.exported.setdefault(alias.bound, []).append(alias)
        texts = (node.value for node in self.nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
        self.texts = {text for text in texts if re.fullmatch(r"[\w.]+", text)}
        """Texts that may name a module."""
        self.is_open = "__getattr__" in self.bound or "*" in self.exported
        self.is_dynamic = any(isinstance(node, ast.Name) and node.id in _DYNAMIC for node in self.nodes)

    def aliases_of(self, node: ast.AST) -> list[Alias]:
        """What a statement imports; empty for any other statement."""
        if isinstance(node, ast.Import):
            return [Alias(alias.name, "", alias.asname or "") for alias in node.names]
        if not isinstance(node, ast.ImportFrom):
            return []
        base = self._absolute(node.level, node.module or "")
        return [Alias(base, alias.name, alias.asname or alias.name) for alias in node.names]

    def _absolute(self, level: int, module: str) -> str:
        if not level:
            return module
        parts = self.name.split(".")
        kept = len(parts) - level + self.is_package
        if kept <= 0:
            return "." * level + module
        return ".".join([*parts[:kept], module] if module else parts[:kept])


class _Checked(ast.NodeTransformer):
    """Takes out what only a type checker reads."""

    def __init__(self, tree: ast.Module) -> None:
        nodes = list(ast.walk(tree))
        self.flags = {
            alias.asname or alias.name
            for node in nodes
            if isinstance(node, ast.ImportFrom) and node.module == "typing" and not node.level
            for alias in node.names
            if alias.name == "TYPE_CHECKING"
        } - {name for node in nodes for name in _bound_by(node)}
        tests = {id(node.test) for node in nodes if isinstance(node, ast.If)}
        loads = [node for node in nodes if isinstance(node, ast.Name) and node.id in self.flags]
        self.only_tested = all(id(node) in tests for node in loads)

    def visit_If(self, node: ast.If) -> ast.AST | Statements:
        self.generic_visit(node)
        return node.orelse if isinstance(node.test, ast.Name) and node.test.id in self.flags else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        if node.module == "typing" and self.only_tested:
            node.names = [alias for alias in node.names if alias.name != "TYPE_CHECKING"]
        return node if node.names else None


def chain(node: ast.expr) -> tuple[str, list[str]]:
    """``a.b.c`` as its first name and its attributes; an empty name for any other expression."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id if isinstance(node, ast.Name) else ""), attributes[::-1]


def is_prose(node: object) -> bool:
    """Whether a syntax node is a statement that is a bare string."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _targets(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _bound_by(node: ast.AST) -> Iterator[str]:
    """Names that a node binds in some scope, otherwise than by an import."""
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Global | ast.Nonlocal):
        yield from node.names
    elif isinstance(node, ast.MatchMapping):
        yield node.rest or ""
    else:  # definitions, exception handlers, patterns, type parameters
        name = getattr(node, "name", None)
        if isinstance(name, str) and not isinstance(node, ast.alias):
            yield name


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield child
            yield from _outside_functions(child)
