"""The registry of shortcuts."""

from typing import TYPE_CHECKING

from robustbench_wb.registry import Registry

if TYPE_CHECKING:  # shortcuts import torch; listing them must not
    from robustbench_wb.training.shortcuts.shortcut import Shortcut

_HERE = "robustbench_wb.training.shortcuts"

SHORTCUTS: "Registry[type[Shortcut]]" = Registry("shortcut")
SHORTCUTS.add("majority", f"{_HERE}.majority:Majority", "the most frequent class")
SHORTCUTS.add("root-operator", f"{_HERE}.listops:RootOperator", "ListOps: the root's operator")
SHORTCUTS.add("root-and-literals", f"{_HERE}.listops:RootAndLiterals", "ListOps: the root and its own digits")
SHORTCUTS.add("bag-of-tokens", f"{_HERE}.bags:BagOfTokens", "logistic regression on the shares of ids")
SHORTCUTS.add("bag-overlap", f"{_HERE}.bags:BagOverlap", "pairs: logistic regression on differences of shares")
SHORTCUTS.add("pixels", f"{_HERE}.pixels:Pixels", "logistic regression on pixels")
