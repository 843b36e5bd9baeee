"""Registry of shortcut baselines."""

from typing import TYPE_CHECKING, Final

from robustbench_wb.registry import Registry

CHANGES_NO_NUMBER: Final = "it only lists names; what they point at is digested instead"

if TYPE_CHECKING:  # shortcuts import torch; listing them must not
    from robustbench_wb.training.shortcuts.shortcut import Shortcut

_HERE = "robustbench_wb.training.shortcuts"

SHORTCUTS: "Registry[type[Shortcut]]" = Registry("shortcut")
SHORTCUTS.add("majority", f"{_HERE}.majority:Majority", "the most frequent class")
SHORTCUTS.add("root-operator", f"{_HERE}.listops:RootOperator", "ListOps: the root operator")
SHORTCUTS.add("root-and-literals", f"{_HERE}.listops:RootAndLiterals", "ListOps: the root operator and its own digits")
SHORTCUTS.add("bag-of-tokens", f"{_HERE}.bags:BagOfTokens", "logistic regression on token frequencies")
SHORTCUTS.add("bag-overlap", f"{_HERE}.bags:BagOverlap", "document pairs: logistic regression on frequency differences")
SHORTCUTS.add("pixels", f"{_HERE}.pixel_regression:PixelRegression", "logistic regression on pixels")
