"""The HTML document of a report: a single file without external resources."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import dnlbench
from dnlbench.report.html.markup import Markup, join, tag

_ESCAPED = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
"""Escapes of characters that occur only in JSON strings and could end the enclosing element."""


def page(title: str, sections: Sequence[Markup], data: Any) -> str:
    """Return an HTML document.

    Args:
        title: title of the window and of the page.
        sections: content of the page.
        data: chart data for the script, as plain JSON values with finite numbers.
    """
    style, script = (
        files("dnlbench.report.html").joinpath(name).read_text("utf-8") for name in ("page.css", "page.js")
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"dnlbench {dnlbench.__version__}"),
        tag("title", title),
        tag("style", Markup(style)),
    )
    body = tag(
        "body",
        tag("header", tag("h1", title)),
        tag("main", *sections),
        tag("footer", tag("p", f"Created by dnlbench {dnlbench.__version__}. This page is self-contained.")),
        tag("script", Markup(embedded_json(data)), type="application/json", id="data"),
        tag("script", Markup(script)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def section(heading: str, *content: Markup, **attributes: str) -> Markup:
    """Return a section with its heading."""
    return tag("section", tag("h2", heading), *content, **attributes)


def folded(summary: str, *content: Markup) -> Markup:
    """Return content that is collapsed on screen and expanded in print."""
    return tag("details", tag("summary", summary), join(*content))


def embedded_json(data: Any) -> str:
    """Return JSON that is safe within a script element."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_ESCAPED)


def _policy(style: str, script: str) -> str:
    """Return a content security policy that allows only the embedded style and script."""
    return f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
