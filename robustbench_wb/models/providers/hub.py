"""One question to the Hugging Face hub before a library of models loads from it."""

from pathlib import Path
from typing import Final

from robustbench_wb.errors import UsageError, first_line
from robustbench_wb.models.providers import library

_LIBRARIES: Final = {"hf": "transformers", "timm": "timm"}
_CONFIG: Final = "config.json"
_REASON: Final = 80
"""Most characters of a library's message."""


def check_on_hub(prefix: str, name: str) -> None:
    """Ask the hub once for a model that is neither a folder nor in the hub's local cache.

    The libraries of models alone retry an unreachable hub five times, which takes half a minute.

    Args:
        prefix: ``hf`` or ``timm``; for other providers nothing is asked.
        name: name after the prefix, without options.

    Raises:
        UsageError: the library is not installed, there is no such model, or the hub cannot be reached.
    """
    # Names of timm's own models have no slash.
    if prefix not in _LIBRARIES or (prefix == "timm" and "/" not in name):
        return
    repository = name.removeprefix("hf-hub:").partition("@")[0]
    if Path(name.removeprefix("local-dir:")).expanduser().is_dir():
        return
    library.load_library(_LIBRARIES[prefix], prefix)
    import httpx2
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    missing = f"{prefix}:{name}: there is no folder {name!r} here, and"
    try:
        if try_to_load_from_cache(repository, _CONFIG) is None:
            get_hf_file_metadata(hf_hub_url(repository, _CONFIG), timeout=20)
    except errors.GatedRepoError:
        return  # the library says how to get access
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise UsageError(f"{missing} the hub has no model of that name") from error
    except (errors.EntryNotFoundError, errors.DisabledRepoError):
        return  # the library says what is wrong with the repository
    except (httpx2.HTTPError, errors.OfflineModeIsEnabled, OSError) as error:
        why = first_line(error, _REASON)
        raise UsageError(f"{missing} the hub did not answer ({why}); check the path or the network") from error
