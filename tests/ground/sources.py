"""What the package remembers of source files."""

from robustbench_wb import source


def forget_sources() -> None:
    """Forget every digest of code, as a new process would, so that an edited file is read again."""
    for value in vars(source).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()
