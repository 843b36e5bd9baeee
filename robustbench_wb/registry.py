"""Generic lazy registry: a name refers to ``module:attribute``, which is imported at its first use."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Generic, TypeVar, cast

from robustbench_wb.errors import HarnessError, RegistryError, SubjectError, UnknownNameError, error_text
from robustbench_wb.namespaces import load_own_code
from robustbench_wb.user_code import UserCode

CHANGES_NO_NUMBER: Final = "it looks names up; what they point at is digested instead"

T = TypeVar("T")
_SUGGESTED: Final = 4
"""Largest number of names that a message suggests."""


def suggest_names(name: str, known: list[str]) -> str:
    """End of an error message: a few names that hold ``name`` as a word, or are similar; all names if none are."""
    by_lower, wanted = {item.lower(): item for item in known}, name.lower()
    holding = [item for item in known if wanted in re.split("[-_. ]", item.lower())]
    near = holding or [by_lower[item] for item in get_close_matches(wanted, by_lower, n=3, cutoff=0.5)]
    return f"did you mean {' or '.join(near[:_SUGGESTED])}?" if near else f"known: {', '.join(sorted(set(known)))}"


@dataclass(frozen=True, kw_only=True)
class RegistryEntry:
    """One registered name: its target ``module:attribute``, a short summary, and the package that provides it."""

    name: str
    target: str
    summary: str
    origin: str = "built in"


class Registry(Generic[T]):
    """Names of one kind (``variant``, ``task``, ...), built in or provided by the entry-point group of that kind.

    Listing names and summaries imports nothing. An entry point that clashes with another name or fails to import
    raises an error only when that name is requested; all other names stay usable.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.group = f"robustbench_wb.{kind}s"
        self._entries: dict[str, RegistryEntry] = {}
        self._loaded: dict[str, T] = {}

    def add(self, name: str, target: str, summary: str) -> None:
        """Register ``name`` as ``module:attribute``.

        Raises:
            RegistryError: the name is already registered.
        """
        if name in self._entries:
            raise RegistryError(f"{self.kind} {name!r} is registered twice: {self._entries[name].target} and {target}")
        self._entries[name] = RegistryEntry(name=name, target=target, summary=summary)

    @cached_property
    def _plugins(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            found.setdefault(point.name, []).append(point)
        return found

    def __iter__(self) -> Iterator[RegistryEntry]:
        """Iterate over all entries in the order of registration, plug-ins last."""
        yield from self._entries.values()
        for name, points in self._plugins.items():
            if name not in self._entries:
                owner = points[0].dist.name if points[0].dist else "unknown package"
                yield RegistryEntry(name=name, target=points[0].value, summary=f"from {owner}", origin=owner)

    def names(self) -> list[str]:
        """All names: built-in ones in the order of registration, then plug-ins."""
        return [entry.name for entry in self]

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._plugins

    def get(self, name: str) -> T:
        """Import and return the target of ``name``.

        Raises:
            UnknownNameError: the name is not registered; the message suggests similar names.
            RegistryError: two packages claim the name, or the import failed.
        """
        if name not in self._loaded:
            self._loaded[name] = cast("T", import_target(self.target(name), f"{self.kind} {name!r}"))
        return self._loaded[name]

    def source(self, name: str) -> tuple[str, Path]:
        """Module of an entry, and the folder under which its imports are followed for the code digest.

        The folder is that of the top-level package, or the one that holds a single-file module.

        Raises:
            UnknownNameError: the name is not registered.
            RegistryError: the entry cannot be loaded, or its source file cannot be found.
        """
        self.get(name)  # raises the errors of a name that cannot be loaded
        module = next(entry.target for entry in self if entry.name == name).partition(":")[0]
        spec = find_spec(module.partition(".")[0])
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            raise RegistryError(f"the source file of plug-in {module} cannot be found, so its code cannot be digested")
        return module, Path(spec.origin).resolve().parent

    def target(self, name: str) -> str:
        """Where the target of ``name`` is found, ``module:attribute``; nothing is imported.

        Raises:
            UnknownNameError: the name is not registered; the message suggests similar names.
            RegistryError: two packages claim the name.
        """
        points = self._plugins.get(name, [])
        claims = [f"{p.dist.name if p.dist else '?'} ({p.value})" for p in points]
        if name in self._entries:
            claims.insert(0, f"robustbench_wb ({self._entries[name].target})")
        if not claims:
            raise UnknownNameError(f"unknown {self.kind} {name!r}; {suggest_names(name, self.names())}")
        if len(claims) > 1:
            raise RegistryError(f"{self.kind} {name!r} is claimed by {' and '.join(claims)}; uninstall or rename one")
        return points[0].value if points else self._entries[name].target


def import_target(target: str, what: str) -> object:
    """Import ``module:attribute`` and return the attribute.

    Raises:
        RegistryError: the import fails or the attribute is missing; the message begins with ``what``.
    """
    module, _, attribute = target.partition(":")
    plugin = not module.startswith("robustbench_wb.")
    if plugin:
        load_own_code()
    try:
        with UserCode(what).running(libraries=plugin):
            return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise RegistryError(f"{what} ({target}) cannot be loaded: {error}") from error
    except SubjectError as error:
        reason = str(error) if error.__cause__ is None else error_text(error.__cause__)
        raise RegistryError(f"{what} ({target}) cannot be loaded: {reason}") from error
    except HarnessError:
        raise
    except Exception as error:
        raise RegistryError(f"{what} ({target}) cannot be loaded: {error_text(error)}") from error
