"""Identity of code: a digest of what a module and the modules it imports *do*, not of how they are laid out.

Comments, docstrings, blank lines and formatting do not count; any other edit does. Imports are followed statically
through every module under the same roots, so that one changed line in a helper is seen by everything that uses it.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parent

# Left out by name: they word messages, look names up or describe requests, and cannot change a number.
LEFT_OUT = frozenset({"robustbench_wb", "robustbench_wb.errors", "robustbench_wb.registry", "robustbench_wb.source"})


def canonical_ast(node: object) -> str:
    """A text of a syntax tree without positions, docstrings and empty fields; stable across Python versions."""
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if name not in ("type_comment", "kind"))
        body = ",".join(f"{name}={canonical_ast(_undocumented(node, name, value))}" for name, value in fields if value)
        constant = f"={type(node.value).__name__}:{node.value!r}" if isinstance(node, ast.Constant) else ""
        return f"{type(node).__name__}{constant}({body})"
    if isinstance(node, list):
        return f"[{','.join(canonical_ast(item) for item in node)}]"
    return repr(node)


def _undocumented(node: ast.AST, name: str, value: object) -> object:
    """The value of a field; a body without its docstring."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if name == "body" and isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
        return node.body[1:]
    return value


def code_digest(*modules: str, root: Path = PACKAGE_ROOT) -> str:
    """SHA-256 (hex) over the named modules and everything they import under ``root``.

    ``root`` is the folder of a package (its name is the first part of every module name), or, for a user's own
    file, the folder that the file lies in (module names are then relative to it).

    Raises:
        FileNotFoundError: a named module has no source file under ``root``.
    """
    return _digest_of(tuple(sorted(modules)), root)


@cache
def _digest_of(modules: tuple[str, ...], root: Path) -> str:
    seen: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in seen or name in LEFT_OUT:
            continue
        path = _find(name, root)
        if path is None:
            if name in modules:
                raise FileNotFoundError(f"no source file for module {name} under {root}")
            continue
        seen[name], imports = _look(path.read_bytes(), name, path.name == "__init__.py")
        waiting += imports
    return hashlib.sha256("\n".join(f"{name} {seen[name]}" for name in sorted(seen)).encode()).hexdigest()


@cache
def _look(code: bytes, name: str, is_package: bool) -> tuple[str, list[str]]:
    """Digest of one file, and what it imports. Stressors and variants share most files, which are parsed once."""
    tree = ast.parse(code)
    return hashlib.sha256(canonical_ast(tree).encode()).hexdigest(), _imports(name, tree, is_package)


def _find(module: str, root: Path) -> Path | None:
    parts = module.split(".")
    if (root / "__init__.py").is_file():
        if parts[0] != root.name:
            return None
        parts = parts[1:]
    base = root.joinpath(*parts)
    for path in (base.with_name(base.name + ".py") if parts else base / "__init__.py", base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imports(name: str, tree: ast.Module, is_package: bool) -> list[str]:
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = name.split(".") if is_package else name.split(".")[:-1]
                parent = parent[: len(parent) - node.level + 1]
                base = ".".join([*parent, base] if base else parent)
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found
