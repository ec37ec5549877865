"""Text that is nothing but text in the formats of reports, whatever names, messages and logs hold."""

from __future__ import annotations

import re

_CONTROLS = {code: None for code in (*range(32), *range(127, 160), 0xFFFE, 0xFFFF) if chr(code) not in "\t\n\r"}
"""Characters that neither XML nor a page may hold; the colours of terminals in logs are made of them."""
_COLOUR = re.compile("\x1b\\[[0-9;:?]*[A-Za-z]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_MARKDOWN = {"&": "&amp;", "<": "&lt;", ">": "&gt;", **{char: f"\\{char}" for char in "\\`|*~$"}}
_LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "''",
    "[": "{[}",
    "±": "$\\pm$",
    "×": "$\\times$",
    "−": "$-$",
    "–": "--",
    "∞": "$\\infty$",
    "→": "$\\to$",
    "≈": "$\\approx$",
    "…": "\\dots{}",
    "τ": "$\\tau$",
}


def printable(text: str) -> str:
    """Without what no document may hold: control characters, colours of terminals, halves of characters."""
    return _SURROGATES.sub("\ufffd", _COLOUR.sub("", text).translate(_CONTROLS))


def markdown(text: str) -> str:
    """One line of GitHub's Markdown that shows the text: no cell, code, emphasis, formula, link or element begins in it."""
    line = " ".join(printable(text).split())
    escaped = "".join(_MARKDOWN.get(char, char) for char in line)
    escaped = re.sub(r"\](?=[(\[:])", r"\\]", escaped)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", escaped)


def markdown_line(text: str) -> str:
    """The same where a line begins, so that it is no heading and no list."""
    return re.sub(r"^(\d*)(?=[#+.)-])", r"\1\\", markdown(text))


def latex(text: str) -> str:
    """LaTeX that shows the text wherever it stands; what is no Latin letter and has no name there is a question mark.

    A bracket is in braces, because a row that begins with one would be an option of the row before.
    """
    line = " ".join(printable(text).split())
    return "".join(_LATEX.get(char, char if char < "\u0180" else "?") for char in line)
