"""The code behind a user's model, as seen while it runs: its modules, the libraries they import, and files it reads."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from robustbench_wb.models.installed import library_release
from robustbench_wb.models.opened_files import content_digest, watch_opened_files
from robustbench_wb.models.providers.import_space import ImportSpace
from robustbench_wb.source import PACKAGE_ROOT, code_digest
from robustbench_wb.spec import digest

_COUNTED_ELSEWHERE: Final = frozenset({"torch", "robustbench_wb"})
"""The release of torch is among the numerics of a record; of this package, the code counts."""


class CodeWatch:
    """Sees what a model file, or a plug-in, loads and reads.

    Args:
        file: the model file; None for a plug-in.
    """

    def __init__(self, file: Path | None) -> None:
        self.space = ImportSpace(file)
        self._files: dict[Path, None] = {}
        self._built: dict[str, str] | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the user's code inside this context: it finds its own modules, and what it reads is seen."""
        with watch_opened_files(self._files), self.space.active():
            yield

    def parts(self) -> dict[str, str]:
        """Digest of each module and file that was imported or read so far, and the release of each library, by name.

        Modules and files beside the model file are named by their path from there, others by their own name.
        """
        found = {**self.space.named(), **dict(self.space.sources.values())}
        for path in sorted({path.resolve() for path in self._files}):
            content = content_digest(path) if path not in self.space.sources else None
            if content is not None:
                found[self._label(path, found)] = content
        for name in sorted(self.space.libraries - _COUNTED_ELSEWHERE - sys.stdlib_module_names):
            found[f"library {name}"] = library_release(name) or _unversioned(name)
        if self.space.harness:
            found["robustbench_wb"] = code_digest(*_existing(self.space.harness))
        return found

    def parts_when_built(self) -> dict[str, str]:
        """The parts at the first call, after the model was built: what a training imports later is no part of them."""
        if self._built is None:
            self._built = self.parts()
        return self._built

    def _label(self, path: Path, taken: dict[str, str]) -> str:
        label = self.space.label(path.name, path)
        number, free = 1, label
        while free in taken:
            number += 1
            free = f"{label} ({number})"
        return free


def _existing(names: set[str]) -> list[str]:
    """Names of modules of this package; the others are names of classes and functions in them."""
    bases = {name: PACKAGE_ROOT.joinpath(*name.split(".")[1:]) for name in names}
    return sorted(
        name for name, base in bases.items() if base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()
    )


def _unversioned(name: str) -> str:
    """Digest of the source of a library that no distribution brings, like a file that was copied among libraries."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        return "no source"
    path = Path(file)
    files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    return digest([[each.name, sha256(each.read_bytes()).hexdigest()] for each in files])
