"""Guard around code that users bring: models, transforms, tokenizers and plug-ins run inside this process.

What such code changes for the whole process is put back after each call: the working folder, settings of torch, numpy
and Python, replaced functions. Replacing a function of this package is an error, because its numbers would be others.
What such code prints goes to standard error, because standard output holds the results.
"""

import ctypes
import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import ModuleType
from typing import Any, Final, NamedTuple, NoReturn

from robustbench_wb.errors import SubjectError, error_text, name_origin
from robustbench_wb.float_precision import read_precision, write_precision
from robustbench_wb.interrupts import OutOfTimeError, is_interrupt
from robustbench_wb.namespaces import KeptNamespaces, Namespaces, call_owners, cell_owners, library_owners, own_owners

CHANGES_NO_NUMBER: Final = "it puts back what code of users changes for the whole process"


class _Setting(NamedTuple):
    """A global setting: how it is read, and how it is set to a value that was read."""

    read: Callable[[], Any]
    write: Callable[[Any], object]


class UserCode:
    """The code behind one model, transform or plug-in.

    Search paths that the code adds, and library functions that it replaces, exist only while it runs.

    Args:
        name: what errors name, like ``mymodel.py:make``.
    """

    owns_process = False
    """Whether the process belongs to the harness: then file descriptor 1 goes to standard error, too."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._paths: list[str] = []
        self._patches: dict[tuple[int, str], tuple[Any, object]] = {}

    def __deepcopy__(self, memo: object) -> "UserCode":
        """Return this object: a copy of a model runs the same code."""
        return self

    @contextmanager
    def running(self, *, thorough: bool = True, libraries: bool = True) -> Iterator[None]:
        """Run code of the user in this block, and put everything back at its end.

        Args:
            thorough: also put back settings that take long to read. One forward pass of a model does without.
            libraries: also put back what the code replaced in all of the libraries that numbers are computed with. A
                cell does without.

        Raises:
            SubjectError: the code raised an exception that is no ``Exception``, such as ``SystemExit``, or replaced
                something in this package. Other errors pass, marked with the name of the code.
        """
        apart = _descriptor_apart() if thorough and self.owns_process else nullcontext()
        with apart, self._state_put_back(thorough, libraries):
            yield

    @contextmanager
    def _state_put_back(self, thorough: bool, libraries: bool) -> Iterator[None]:
        settings = _settings(thorough)
        before = [setting.read() for setting in settings]
        kept = [KeptNamespaces(Namespaces([*call_owners(), *(cell_owners() if thorough else ())]))]
        kept += [KeptNamespaces(own_owners())] if thorough else []
        kept += [KeptNamespaces(library_owners(), code_only=True)] if thorough and libraries else []
        ours: list[str] = []
        path, output, leave = sys.path[:], sys.stdout, os._exit
        for (_, name), (owner, value) in self._patches.items():
            setattr(owner, name, value)
        sys.path[:0] = self._paths
        sys.stdout = sys.stderr
        os._exit = _raise_exit
        try:
            yield
        except (Exception, OutOfTimeError) as error:  # whoever set the time limit says what its end means
            name_origin(error, self.name)
            raise
        except BaseException as error:
            if is_interrupt(error):
                raise
            raise SubjectError(f"{self.name}: {error_text(error)}") from error
        finally:
            sys.stdout, os._exit = output, leave
            self._paths += [entry for entry in sys.path if entry not in path and entry not in self._paths]
            sys.path[:] = path
            for setting, value in zip(settings, before, strict=True):
                if setting.read() != value:
                    with suppress(OSError):  # the folder was deleted
                        setting.write(value)
            for found in (replaced for namespaces in kept for replaced in namespaces.put_back()):
                if found.is_own:
                    ours.append(found.path)
                else:  # for the next call
                    self._patches[id(found.owner), found.name] = (found.owner, found.value)
        if ours:
            raise SubjectError(
                f"{self.name}: {', '.join(ours)} was replaced while it ran, and numbers would not be those of this "
                "package; leave its functions and classes as they are, and write your own beside them"
            )


@contextmanager
def _descriptor_apart() -> Iterator[None]:
    """Send what C code, other processes and ``sys.__stdout__`` write to file descriptor 1 to standard error."""
    _flush()
    try:
        results = os.dup(1)
    except OSError:  # it is closed
        yield
        return
    os.dup2(2, 1)
    try:
        yield
    finally:
        _flush()
        os.dup2(results, 1)
        os.close(results)


def _flush() -> None:
    for stream in (sys.stdout, sys.__stdout__):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)  # buffers of C


def _raise_exit(status: int) -> NoReturn:
    """Stand in for ``os._exit`` while code of the user runs: results would be lost. Forked processes end."""
    if os.getpid() == _PROCESS:
        raise SystemExit(status)
    _EXIT(status)


_EXIT: Final = os._exit
_PROCESS: Final = os.getpid()


def _settings(thorough: bool) -> list[_Setting]:
    if "torch" not in sys.modules or "numpy" not in sys.modules:
        return [*_PYTHON, *_SLOW]
    if not _FAST:
        torch, numpy = sys.modules["torch"], sys.modules["numpy"]
        _FAST.extend([*_PYTHON, *_library_settings(torch, numpy)])
        _THOROUGH.extend([*_FAST, *_device_settings(torch), *_SLOW])
    return _THOROUGH if thorough else _FAST


def _write_filters(filters: list[Any]) -> None:
    warnings.resetwarnings()  # forgets what was decided by the other filters
    warnings.filters[:] = filters  # type: ignore[index]


def _write_collection(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  (for each forward pass: a path takes longer)
    except OSError:  # it was deleted
        return ""


def _handler() -> object:
    own = threading.current_thread() is threading.main_thread()
    return signal.getsignal(signal.SIGINT) if own else None


def _write_handler(handler: Any) -> None:
    if handler is not None:
        signal.signal(signal.SIGINT, handler)


def _variables() -> dict[str, str]:
    """Environment variables of the harness. Others may be there for libraries, which read them late."""
    return {name: value for name, value in os.environ.items() if name.startswith("RBWB_")}


def _write_variables(values: dict[str, str]) -> None:
    for name in _variables():
        del os.environ[name]
    os.environ.update(values)


_PYTHON: Final = (
    _Setting(_folder, os.chdir),
    _Setting(lambda: warnings.filters[:], _write_filters),
    _Setting(sys.getrecursionlimit, sys.setrecursionlimit),
    _Setting(gc.isenabled, _write_collection),
    _Setting(lambda: logging.root.manager.disable, logging.disable),
)
_SLOW: Final = (_Setting(_handler, _write_handler), _Setting(_variables, _write_variables))
"""Settings that take long to read."""
_FAST: list[_Setting] = []
_THOROUGH: list[_Setting] = []


def _library_settings(torch: ModuleType, numpy: ModuleType) -> Iterator[_Setting]:
    yield _Setting(torch.get_default_dtype, torch.set_default_dtype)
    yield _Setting(torch.is_grad_enabled, torch.set_grad_enabled)
    yield _Setting(torch.get_num_threads, torch.set_num_threads)
    yield _Setting(
        lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    )
    yield _Setting(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly)
    context = torch._GLOBAL_DEVICE_CONTEXT  # get_default_device takes 15 microseconds
    yield _Setting(
        lambda: getattr(getattr(context, "device_context", None), "device", None),
        torch.set_default_device,
    )
    yield _Setting(numpy.geterr, lambda value: numpy.seterr(**value))
    for device in ("cpu", "cuda"):
        yield _Setting(
            lambda d=device: torch.is_autocast_enabled(d),  # type: ignore[misc]
            lambda value, d=device: torch.set_autocast_enabled(d, value),  # type: ignore[misc]
        )
    # After the default device, which is such a mode as well.
    functions, dispatch = torch._C, sys.modules["torch.utils._python_dispatch"]
    yield _Setting(functions._len_torch_function_stack, lambda count: _leave_modes(functions, count))
    yield _Setting(dispatch._len_torch_dispatch_stack, lambda count: _leave_dispatch(dispatch, count))


def _device_settings(torch: ModuleType) -> Iterator[_Setting]:
    """Settings that only reach devices, or take microseconds to read."""
    for owner, name in (
        (torch.backends.cudnn, "benchmark"),
        (torch.backends.cudnn, "deterministic"),
        (torch.backends.cudnn, "enabled"),
        (torch.backends.mkldnn, "enabled"),
    ):
        yield _Setting(lambda o=owner, n=name: getattr(o, n), lambda value, o=owner, n=name: setattr(o, n, value))  # type: ignore[misc]
    for kernel in ("flash", "mem_efficient", "math", "cudnn"):
        backends = torch.backends.cuda
        yield _Setting(getattr(backends, f"{kernel}_sdp_enabled"), getattr(backends, f"enable_{kernel}_sdp"))
    yield _Setting(lambda: read_precision(torch), lambda value: write_precision(torch, value))
    hooks = vars(sys.modules["torch.nn.modules.module"])
    for table in [hooks[name] for name in hooks if name.startswith("_global_") and isinstance(hooks[name], dict)]:
        yield _Setting(table.copy, lambda value, t=table: (t.clear(), t.update(value)))  # type: ignore[misc]


def _leave_modes(torch_c: Any, count: int) -> None:
    """Leave modes of functions (``TorchFunctionMode``) that code of the user entered and never left."""
    while torch_c._len_torch_function_stack() > count:
        torch_c._pop_torch_function_stack()


def _leave_dispatch(dispatch: Any, count: int) -> None:
    """Leave modes of operators (``TorchDispatchMode``) that code of the user entered and never left."""
    while dispatch._len_torch_dispatch_stack() > count:
        top = dispatch._get_current_dispatch_mode()
        dispatch.TorchDispatchMode.__exit__(top, None, None, None)
