"""The identity of code: a digest of what a module and the modules it imports do, not of how they are named or laid out.

Comments, docstrings, formatting, the order of imports, and the names and places of internal modules do not count; any
other edit does. Imports are followed statically through every module under one root, so that one changed line in a
helper is seen by everything that uses the helper. Modules that carry the marker
``robustbench_wb.syntax.MARKER`` are left out. A digest that is proven equivalent to an older one is reported as
the oldest, see ``robustbench_wb.equivalences``.
"""

import ast
import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

from robustbench_wb.equivalences import earliest
from robustbench_wb.syntax import (
    Alias,
    Imports,
    ModuleReference,
    SourceFile,
    canonical_ast,
    chain,
    filled,
    is_prose,
    reference,
    referenced,
)

CHANGES_NO_NUMBER: Final = "it digests source code and computes nothing that is measured"

PACKAGE_ROOT = Path(__file__).resolve().parent


def code_digest(*modules: str, root: Path = PACKAGE_ROOT) -> str:
    """SHA-256 (hex) over what the named modules and everything they import under ``root`` do.

    Two programs have one digest only when their syntax trees are equal but for the names of internal modules. Modules
    may import each other in a circle. What a module reaches by text (``importlib``, ``eval``) is not followed.

    Args:
        modules: dotted names.
        root: the folder of a package (its name is the first part of every module name), or, for a user's own file, the
            folder that holds the file (module names are then relative to the folder). Where packages are installed,
            only modules that came with the named ones are followed.

    Returns:
        The digest, or the oldest digest that it is listed as equivalent to.

    Raises:
        FileNotFoundError: a named module has no source file under ``root``.
        SyntaxError: a source file is not Python.
    """
    return earliest(_digest_of(tuple(sorted(set(modules))), root))


def source_digest(code: bytes) -> str:
    """SHA-256 (hex) over what one file of Python does by itself, or the oldest digest that is listed as equivalent.

    Comments, docstrings and layout do not count.

    Raises:
        SyntaxError: it is not Python.
    """
    return earliest(_sha(canonical_ast(SourceFile(code, "", False).tree)))


def forget() -> None:
    """Read every source file again when it is next asked for: a file was edited in the middle of a session."""
    _digest_of.cache_clear()
    _tree.cache_clear()


@cache
def _digest_of(modules: tuple[str, ...], root: Path) -> str:
    return _tree(root, _installed_with(modules, root)).digest(modules)


@cache
def _tree(root: Path, owned: frozenset[str] | None) -> "SourceTree":
    return SourceTree(root, owned)


def _installed_with(modules: Iterable[str], root: Path) -> frozenset[str] | None:
    """Top-level modules of the distributions that modules came with; None where no distributions are installed."""
    if (root / "__init__.py").is_file() or next(root.glob("*.dist-info"), None) is None:
        return None
    named = {module.partition(".")[0] for module in modules}
    owners = packages_distributions()
    distributions = {owner for name in named for owner in owners.get(name, ())}
    return frozenset(named | {name for name, own in owners.items() if distributions & set(own)})


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class SourceTree:
    """The modules under one root, read when they are first needed. ``owned``: the only top-level ones; None: all."""

    def __init__(self, root: Path, owned: frozenset[str] | None = None) -> None:
        self.root, self._owned = root, owned
        self._files: dict[str, SourceFile] = {}
        self._texts: dict[str, str] = {}
        self._known: dict[str, bool] = {}

    def digest(self, modules: Iterable[str]) -> str:
        """The digest of ``code_digest``, without looking up equivalences."""
        named = [name for name in modules if not self.file(name).left_out]
        reach = {name: self._reachable([name]) for name in named}
        # A module that another one imports anyway adds nothing when it is named as well.
        apart = [name for name in named if all(name not in reach[other] or other in reach[name] for other in named)]
        everything = self._ordered(self._reachable(apart), apart)
        numbers = {name: str(number) for number, name in enumerate(everything)}
        texts = [self._filled(name, numbers) for name in everything]
        return _sha("\n".join([*texts, *sorted(numbers[name] for name in apart)]))

    def _ordered(self, modules: Iterable[str], named: Iterable[str]) -> list[str]:
        """Modules in an order that depends on what they do. Names decide only between modules in equal places.

        The order is that of refined colours (Weisfeiler & Leman 1968): first of a module's own text, then of its text
        with the colours of what it imports and of what imports it, until the number of different colours stays.
        """
        colours = {name: "named" if name in named else "" for name in modules}
        importers: dict[str, list[str]] = {name: [] for name in colours}
        for name in colours:
            for found in referenced(self.text(name)):
                importers.get(found.removeprefix("="), []).append(name)
        count = 0
        while len(set(colours.values())) > count:
            count = len(set(colours.values()))
            colours = {
                name: _sha(" ".join([colours[name], *sorted(colours[other] for other in importers[name])]))
                for name in colours
            }
            colours = {name: _sha(colours[name] + self._filled(name, colours)) for name in colours}
        return sorted(colours, key=lambda name: (colours[name], name))

    def _filled(self, name: str, names: Mapping[str, str]) -> str:
        """The text of a module, its references filled; left-out modules are all one."""
        text = self.text(name)
        return filled(text, {found: self._label(found, names) for found in referenced(text)})

    def _label(self, found: str, names: Mapping[str, str]) -> str:
        name = found.removeprefix("=")
        if self.file(name).left_out:
            return "-"
        return names[name] if name == found else self._exact(name)

    def _exact(self, name: str) -> str:
        """A digest of a module and all that it imports, with names: for uses that are not resolved statically."""
        trees = [(other, self._parsed(other).tree) for other in sorted(self._reachable([name]))]
        return _sha("\n".join(f"{other} {canonical_ast(tree)}" for other, tree in trees))

    def _reachable(self, modules: Iterable[str]) -> set[str]:
        found: set[str] = set()
        waiting = list(modules)
        while waiting:
            name = waiting.pop()
            if name not in found and not self.file(name).left_out:
                found.add(name)
                waiting += [other.removeprefix("=") for other in referenced(self.text(name))]
        return found

    def _find(self, module: str) -> Path | None:
        """The source file of a module; None for one that does not lie under the root."""
        parts = module.split(".")
        if (self.root / "__init__.py").is_file():
            if parts[0] != self.root.name:
                return None
            parts = parts[1:]
        elif self._owned is not None and parts[0] not in self._owned:
            return None
        if not all(part.isidentifier() for part in parts):
            return None
        base = self.root.joinpath(*parts)
        for path in (base.with_name(base.name + ".py") if parts else base / "__init__.py", base / "__init__.py"):
            if path.is_file():
                return path
        return None

    def file(self, name: str) -> SourceFile:
        """The parsed file of a module that exists; its tree is canonical once the text was asked for."""
        if name not in self._files:
            self._files[name] = self._parsed(name)
        return self._files[name]

    def _parsed(self, name: str) -> SourceFile:
        path = self._find(name)
        if path is None:
            raise FileNotFoundError(f"no source file for module {name} under {self.root}")
        return SourceFile(path.read_bytes(), name, path.name == "__init__.py")

    def exists(self, name: str) -> bool:
        """Whether a module of this name lies under the root."""
        if name not in self._known:
            self._known[name] = self._find(name) is not None
        return self._known[name]

    def text(self, name: str) -> str:
        """The canonical text of a module, with places for the modules that it refers to."""
        if name not in self._texts:
            file = self.file(name)
            self._texts[name] = f"{self._parent(name)} {canonical_ast(_Canonical(file, self).visit(file.tree))}"
        return self._texts[name]

    def _parent(self, name: str) -> str:
        """The nearest package around a module whose ``__init__.py`` does something: importing the module runs it."""
        while "." in name:
            name = name.rpartition(".")[0]
            if self.exists(name) and not self.file(name).inert and not self.file(name).left_out:
                return reference(name)
        return ""

    def member(self, module: str, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> str | None:
        """The module that ``module.name`` is; None where it is something else, or cannot be told."""
        below = f"{module}.{name}"
        file = self.file(module)
        if not file.left_out:
            if (module, name) in seen:
                return None
            if name in file.exported and name not in file.bound and not file.is_open:
                seen |= {(module, name)}
                found = {self.target(alias, seen) for alias in file.exported[name]}
                return found.pop() if len(found) == 1 else None
            if name in file.exported or name in file.bound or file.is_open:
                return None
        return below if self.exists(below) else None

    def target(self, alias: Alias, seen: frozenset[tuple[str, str]] = frozenset()) -> str | None:
        """The internal module that an alias binds; None where it binds something else."""
        if not self.exists(alias.module):
            return None
        if not alias.name:
            top = alias.module if alias.local else alias.bound
            return top if self.exists(top) else None
        return None if alias.name == "*" else self.member(alias.module, alias.name, seen)


class _Canonical(ast.NodeTransformer):
    """Puts references in the place of internal modules, and makes runs of import statements."""

    def __init__(self, file: SourceFile, tree: SourceTree) -> None:
        self.file, self.tree = file, tree
        targets: dict[str, set[str | None]] = {}
        for alias in file.aliases:
            targets.setdefault(alias.bound, set()).add(tree.target(alias))
        self.modules: dict[str, str] = {}
        """Local names that always mean one internal module."""
        for name, found in targets.items():
            only = next(iter(found))
            if len(found) == 1 and only is not None and name not in file.bound:
                self.modules[name] = only
        self.opaque = self._opaque()
        """Local names of modules that are used otherwise than by an attribute, so that the names of modules matter."""

    def _opaque(self) -> set[str]:
        if self.file.is_dynamic:
            return set(self.modules)
        inner = {id(node.value) for node in self.file.nodes if isinstance(node, ast.Attribute)}
        prose = {id(node.value) for node in self.file.nodes if isinstance(node, ast.Expr) and is_prose(node)}
        found: set[str] = set()
        for node in self.file.nodes:
            if isinstance(node, ast.Name | ast.Attribute) and id(node) not in inner:
                name, attributes = chain(node)
                if name in self.modules and not self._resolved(name, attributes)[1]:
                    found.add(name)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                # An annotation in quotes may be evaluated.
                found |= {name for name in self.modules if re.search(rf"\b{name}\.\w", node.value)}
        return found

    def _resolved(self, name: str, attributes: list[str]) -> tuple[str, list[str]]:
        """The module that a chain leads to, and the attributes that are left."""
        module = self.modules[name]
        while attributes:
            below = self.tree.member(module, attributes[0])
            if below is None:
                break
            module, attributes = below, attributes[1:]
        return module, attributes

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        name, attributes = chain(node)
        if name not in self.modules:
            return self.generic_visit(node)
        module, left = self._resolved(name, attributes)
        inner: ast.expr = node
        for _ in left[1:]:
            inner = inner.value if isinstance(inner, ast.Attribute) else inner
        found = ModuleReference(module=f"={module}" if name in self.opaque else module)
        if not left:
            return found
        if isinstance(inner, ast.Attribute):
            inner.value = found
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in ("body", "orelse", "finalbody"):
            statements = getattr(node, field, None)
            if isinstance(statements, list):
                setattr(node, field, self._joined(statements))
        return node

    def _joined(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """Statements, of which consecutive imports are one."""
        found: list[ast.stmt] = []
        aliases: list[Alias] = []
        for node in [*statements, None]:
            more = self.file.aliases_of(node) if node is not None else []
            aliases += more
            if more:
                continue
            if aliases:
                found.append(self._run(aliases))
                aliases = []
            if node is not None:
                found.append(node)
        return found

    def _run(self, aliases: list[Alias]) -> Imports:
        bound = {
            (alias.bound, self.tree.target(alias) or (alias[:2] if alias.local else alias.bound)) for alias in aliases
        }
        names = [name for name, _ in bound]
        return Imports(
            records=[self._record(alias) for alias in aliases],
            ordered="*" in names or len(set(names)) < len(names),
        )

    def _record(self, alias: Alias) -> str:
        module, name, local = alias
        if not self.tree.exists(module):
            return f"external {module} {name} {local}"
        if name == "*":
            return f"all {reference('=' + module)}"
        target = self.tree.target(alias)
        below = f"{module}.{name}"
        if target is None:
            either = reference(below) if name and self.tree.exists(below) else ""
            return f"name {reference(module)} {name} {local} {either}"
        imported = target if name else module
        via = module if name and target != below else ""
        if alias.bound in self.modules and alias.bound not in self.opaque:
            return f"module {reference(imported)} {reference(via) if via else ''}"
        return f"opaque {reference('=' + imported)} {reference('=' + via) if via else ''} {imported} {alias.bound}"
