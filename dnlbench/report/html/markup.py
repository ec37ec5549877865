"""Build HTML from Python values. Text is escaped unless it is `Markup`."""

from __future__ import annotations

from html import escape

from dnlbench.escape import printable

_VOID = ("br", "meta", "input")
"""Elements without content or end tag."""


class Markup(str):
    """HTML that must not be escaped again."""

    __slots__ = ()


def text(content: str) -> Markup:
    """Escape text for HTML."""
    return Markup(escape(printable(content), quote=True))


def tag(name: str, /, *content: str, **attributes: str | int | bool | None) -> Markup:
    """Build an element: ``tag("p", "a < b", class_="note")``.

    Args:
        name: name of the element.
        content: markup, or text to escape.
        attributes: a trailing underscore of a name is dropped, others become dashes. True gives an attribute without a
            value; None and False omit the attribute.
    """
    written = "".join(
        f" {_attribute(key)}" + ("" if value is True else f'="{text(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    start = f"<{name}{written}>"
    return Markup(start) if name in _VOID else Markup(f"{start}{join(*content)}</{name}>")


def join(*parts: str) -> Markup:
    """Concatenate parts, and escape those that are not markup."""
    return Markup("".join(part if isinstance(part, Markup) else text(part) for part in parts))


def lines(content: str) -> Markup:
    """Convert the line breaks of text to HTML."""
    return Markup("<br>".join(text(line) for line in content.splitlines()))


def _attribute(name: str) -> str:
    return name.removesuffix("_").replace("_", "-")
