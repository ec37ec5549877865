"""Text that is nothing but text in each medium, whatever names, messages and logs hold.

Terminals, CSV, JSON, Markdown, LaTeX, and with `printable` XML and HTML. Commands and the terminal UI apply `terminal` where
text leaves them (`dnlbench.cli.output`, `dnlbench.tui.app`), so that no caller has to think of it.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable

CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line feed, DEL, C1
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # line separators; what turns the direction of writing
    "\ud800-\udfff\ufeff\ufffe\uffff]"  # lone surrogates, byte-order marks, what is no character
)
"""Characters that do something instead of showing something: never printed as they are."""
SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, movements
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, links and other strings
    r"|\x1b[ -/]*[0-~]?"
)
"""Whole sequences for terminals, as in logs."""
_COLOUR = re.compile("\x1b\\[[0-9;:?]*[A-Za-z]")
_FORMULA = re.compile("[=+@\t\r\n\uff1d\uff0b\uff20\uff0d-]")
_LINKS = re.compile(r"(?<=@)(?=\w)|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=#)(?=\d)", re.IGNORECASE)
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
    **{"³": "$^3$", "⁶": "$^6$", "⁹": "$^9$"},
}


def terminal(text: str) -> str:
    r"""Show control characters as in ``\x1b``, so that text cannot steer a terminal."""
    return CONTROLS.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def json_text(text: str) -> str:
    """The same JSON with control characters escaped as JSON does."""
    return CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV in which spreadsheets run no cell as a formula.

    Numbers are written so that reading gives the same bits, True and False as in JSON, and None as an empty cell.
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_csv_value(value) for value in row] for row in rows)
    return out.getvalue()


def _csv_value(value: object) -> object:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return finite_or_word(value)
        case str():
            return csv_cell(value)
        case _:
            return value


def finite_or_word(value: float) -> float | str:
    """A number for a file; one that is not finite as the word that profiles have for it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def csv_cell(text: str) -> str:
    """Text of a cell: with an apostrophe before what a spreadsheet would run."""
    return terminal(f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def printable(text: str) -> str:
    """Text for XML and pages: colours of terminals left out, other control characters shown."""
    return terminal(_COLOUR.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))


LABEL_LETTERS = 80
"""The most of a name that labels show; data formats hold all of it."""


def label(name: str) -> str:
    """A name in one line of a figure, with an ellipsis in the middle of a long one: both ends tell names apart."""
    line = " ".join(printable(name).split())
    if len(line) <= LABEL_LETTERS:
        return line
    return f"{line[: LABEL_LETTERS // 2]}…{line[1 - LABEL_LETTERS // 2 :]}"


def markdown(text: str) -> str:
    """One line of GitHub's Markdown that shows the text: no cell, code, emphasis, formula, link or element begins in it.

    GitHub makes links of bare addresses, names and numbers of issues; an empty comment within keeps it from that.
    """
    line = " ".join(printable(text).split())
    escaped = "".join(_MARKDOWN.get(char, char) for char in line)
    escaped = re.sub(r"\](?=[(\[:])", r"\\]", escaped)
    return _LINKS.sub("<!-- -->", re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", escaped))


def markdown_line(text: str) -> str:
    """The same where a line begins, so that it is no heading and no list."""
    return re.sub(r"^(\d*)(?=[#+.)-])", r"\1\\", markdown(text))


def latex(text: str) -> str:
    """LaTeX that shows the text wherever it stands; what is no Latin letter and has no name there is a question mark.

    A bracket is in braces, because a row that begins with one would be an option of the row before.
    """
    line = " ".join(printable(text).split())
    return "".join(_LATEX.get(char, char if char < "\u0180" else "?") for char in line)


def latex_number(text: str) -> str:
    """The same for numbers among text: with minus signs, and powers of ten in place of exponents."""
    powers = re.sub(r"e([+-])0*(\d+)", lambda found: f"E{'-' if found[1] == '-' else ''}{found[2]}", text)
    signed = latex(re.sub(r"(?<![\dE])-(?=\d)", "−", powers))
    return re.sub(r"E(-?\d+)", r"$\\cdot10^{\1}$", signed)
