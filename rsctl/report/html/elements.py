"""Elements of a page. Text from outside can't become markup: every string goes through the serializer's escapes."""

from __future__ import annotations

import json
from typing import Any
from xml.etree.ElementTree import Element, tostring

from rsctl.plain import printable

Child = Element | str | None


def element(tag: str, *children: Child, **attributes: Any) -> Element:
    """An element with its children in order; None among them is left out.

    `class_` is the attribute class, `aria_label` aria-label; an attribute that is None or False is left out, True is empty.
    """
    made = Element(tag)
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        name = key.rstrip("_").replace("_", "-")
        made.set(name, "" if value is True else printable(str(value)))
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif child is not None and last is None:
            made.text = (made.text or "") + _text(child)
        elif child is not None and last is not None:
            last.tail = (last.tail or "") + _text(child)
    return made


def _text(raw: str) -> str:
    return "\n".join(printable(line) for line in raw.split("\n"))


def data(name: str, value: Any) -> Element:
    """Values for the page's scripts, as JSON in which nothing ends the element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    made = Element("script", {"type": "application/json", "id": name})
    # The contents of a script aren't escaped by the serializer.
    made.text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return made


def markup(*elements: Element | None) -> str:
    """The elements as HTML."""
    return "\n".join(tostring(one, encoding="unicode", method="html") for one in elements if one is not None)
