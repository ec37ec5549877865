"""HTML from Python values: text is escaped unless it is markup already."""

from __future__ import annotations

from html import escape

from dnlbench.escape import printable

_ALONE = ("br", "meta", "input")
"""Elements without content or end."""


class Markup(str):
    """Text that is HTML and must not be escaped again."""

    __slots__ = ()


def text(content: str) -> Markup:
    """Text as HTML that shows it."""
    return Markup(escape(printable(content), quote=True))


def tag(name: str, /, *content: str, **attributes: str | int | bool | None) -> Markup:
    """An element: ``tag("p", "a < b", class_="note")``.

    Args:
        name: of the element.
        content: markup as it is, other text escaped.
        attributes: an underscore at the end of a name is dropped, others become dashes; True gives an attribute without a
            value, None and False none.
    """
    written = "".join(
        f" {_attribute(key)}" + ("" if value is True else f'="{text(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    start = f"<{name}{written}>"
    return Markup(start) if name in _ALONE else Markup(f"{start}{join(*content)}</{name}>")


def join(*parts: str) -> Markup:
    """One after the other, escaped where they are not markup."""
    return Markup("".join(part if isinstance(part, Markup) else text(part) for part in parts))


def lines(content: str) -> Markup:
    """Text of several lines, broken where it is."""
    return Markup("<br>".join(text(line) for line in content.splitlines()))


def _attribute(name: str) -> str:
    return name.removesuffix("_").replace("_", "-")
