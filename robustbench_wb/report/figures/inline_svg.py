"""Figures of matplotlib as parts of an HTML page: small, without style attributes, in the colours of the page.

A content security policy that names the digest of one style sheet forbids ``style`` attributes, so they become
presentation attributes. Colours become variables of the style sheet, which a dark colour scheme replaces.
"""

import re
from collections.abc import Iterator
from typing import Final
from xml.etree import ElementTree

from markupsafe import Markup

from robustbench_wb.report.figures.chart import COLUMN, Chart
from robustbench_wb.report.figures.draw import INK, PALETTE, RULE, SOFT, draw_chart, figure_bytes
from robustbench_wb.report.text_block import printable

_VARIABLES: Final = {
    **{colour: f"var(--c{at})" for at, colour in enumerate(PALETTE)},
    **{INK: "var(--ink)", "#000000": "var(--ink)", SOFT: "var(--soft)", RULE: "var(--rule)"},
}
_KEPT: Final = (
    *("fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "text-anchor"),
    *("font-size", "opacity"),
)
"""Properties that presentation attributes can carry. The clip path is left out: the axes contain their values."""
_LINK: Final = "{http://www.w3.org/1999/xlink}href"
_DROPPED: Final = ("metadata", "style", "clipPath")


def inline_svg(chart: Chart, prefix: str, *, width: float = COLUMN, numbers: bool = False) -> Markup:
    """SVG element of a chart for the page.

    Args:
        chart: the chart; its title becomes the caption of the page, and its points have tooltips.
        prefix: beginning of all ids, different for each figure of the page.
        width: width in inches, which gives the size of the text relative to the figure.
        numbers: see ``draw_chart``.
    """
    figure = draw_chart(chart, width=width, title=False, numbers=numbers)
    root = ElementTree.fromstring(figure_bytes(figure, "svg", text=True))
    _clean(root)
    names = {element.get("href", "")[1:]: "" for element in root.iter("use")}
    names = {name: f"{prefix}-{at}" for at, name in enumerate(names)}
    for element in root.iter():
        own = element.attrib.pop("id", "")
        if own in names:
            element.set("id", names[own])
        elif own.startswith(("series-", "front")):
            element.set("class", own.partition("-")[0])
        if "href" in element.attrib:
            element.set("href", f"#{names[element.attrib['href'][1:]]}")
    _add_tooltips(root, chart)
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib |= {"viewBox": box, "role": "img", "aria-label": printable(f"{chart.description}.")}
    return Markup(_shortened(ElementTree.tostring(root, encoding="unicode")))


def _clean(root: ElementTree.Element) -> None:
    """Remove namespaces, style attributes, clip paths, and the background of the figure and of its axes."""
    for parent in list(root.iter()):
        parent.tag = parent.tag.rpartition("}")[2]
        for child in list(parent):
            if child.tag.rpartition("}")[2] in _DROPPED or re.fullmatch(r"patch_[12]", child.get("id", "")):
                parent.remove(child)
    for element in root.iter():
        for name in ("clip-path", "version"):
            element.attrib.pop(name, None)
        if _LINK in element.attrib:
            element.set("href", element.attrib.pop(_LINK))
        for name, value in _properties(element.attrib.pop("style", "")):
            element.set(name, _VARIABLES.get(value, value))
        if element.tag == "text" and "rotate(-0" in element.get("transform", ""):
            del element.attrib["transform"]
        element.tail = None
        element.text = element.text if element.tag == "text" else None


def _properties(style: str) -> Iterator[tuple[str, str]]:
    """Names and values of the kept properties of a style attribute; the size of a ``font`` is one of them."""
    for name, _, value in (part.strip().partition(": ") for part in style.split(";")):
        if name == "font":
            yield "font-size", value.split("px")[0].split()[-1]
        elif name in _KEPT:
            yield name, value.removesuffix("px")


def _add_tooltips(root: ElementTree.Element, chart: Chart) -> None:
    """Give each marker the description of its point."""
    texts = iter([point.text for one in chart.series for point in one.points])
    for group in (group for group in root.iter("g") if group.get("class") == "series"):
        for mark in group.iter("use"):
            group.set("fill", mark.attrib.pop("fill"))
            mark.attrib.pop("stroke", None)
            ElementTree.SubElement(mark, "title").text = printable(next(texts))


def _shortened(svg: str) -> str:
    """Numbers with two decimals, which is a hundredth of a point."""
    return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), svg)
