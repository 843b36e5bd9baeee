"""What code of users replaces in modules and classes is found and put back."""

from types import ModuleType
from unittest.mock import ANY

import numpy as np
import pytest
import torch

from robustbench_wb.namespaces import KeptNamespaces, Namespaces, library_owners


def double(number: int) -> int:
    return 2 * number


@pytest.mark.parametrize(
    "value",
    [np.zeros(2), torch.zeros(2), len, None, ANY],
    ids=["array", "tensor", "function", "none", "equal to everything"],
)
def test_replaced_and_deleted_names_come_back(value: object) -> None:
    class Owner:
        method = double

    module = ModuleType("module")
    vars(module).update(function=double, other=double)
    spaces = Namespaces([Owner, module])
    for _ in range(2):
        kept = KeptNamespaces(spaces)
        assert list(kept.put_back()) == []
        vars(module).update(function=value)
        del vars(module)["other"]
        type.__setattr__(Owner, "method", value)
        found = {(replaced.owner, replaced.name): replaced.value for replaced in kept.put_back()}
        assert found.keys() == {(Owner, "method"), (module, "function"), (module, "other")}
        assert found[Owner, "method"] is found[module, "function"] is value
        assert Owner.method is module.function is module.other is double


def test_what_changes_between_two_calls_of_users_stays() -> None:
    module = ModuleType("module")
    vars(module).update(first=double)
    spaces = Namespaces([module])
    assert list(KeptNamespaces(spaces).put_back()) == []
    vars(module).update(first=len, second=double)
    kept = KeptNamespaces(spaces)
    vars(module).update(first=max, second=max, third=max)
    assert [replaced.name for replaced in kept.put_back()] == ["first", "second"]
    assert (module.first, module.second, module.third) == (len, double, max)


def test_classes_that_are_not_watched_cannot_be_changed() -> None:
    watched = {id(owner) for owner in library_owners().owners}
    assert {id(torch), id(torch.Tensor), id(torch.nn.Linear), id(np)} <= watched
    names = [*vars(torch).values(), *vars(np).values()]
    left = [
        kind
        for kind in names
        if isinstance(kind, type) and id(kind) not in watched and kind.__module__.split(".")[0] in ("torch", "numpy")
    ]
    assert {np.ndarray, torch.FloatTensor} <= set(left)
    for kind in left:
        with pytest.raises(TypeError, match="immutable type"):
            type.__setattr__(kind, "__doc__", "")
