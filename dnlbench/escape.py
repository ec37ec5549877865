"""Escape text for terminals, CSV, JSON, Markdown, LaTeX and, with `printable`, XML and HTML.

Names, messages and logs may contain any characters. Commands and the terminal UI apply `terminal` at their output
(`dnlbench.cli.output`, `dnlbench.tui.app`), so that callers need not.
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
"""Control characters, which are never printed unescaped."""
SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colors, cursor movements
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, links and other strings
    r"|\x1b[ -/]*[0-~]?"
)
"""Complete escape sequences of terminals."""
_COLOR = re.compile("\x1b\\[[0-9;:?]*[A-Za-z]")
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
    r"""Escape control characters, as in ``\x1b``, so that text cannot control a terminal."""
    return CONTROLS.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def json_text(text: str) -> str:
    """Return JSON with control characters escaped."""
    return CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV in which spreadsheets interpret no cell as a formula.

    Numbers round-trip exactly, booleans are written as in JSON, and None is an empty cell.
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
    """Return a number for a file. A number that is not finite becomes the word used in profiles."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def csv_cell(text: str) -> str:
    """Return the text of a cell, with an apostrophe before anything that a spreadsheet would evaluate."""
    return terminal(f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def printable(text: str) -> str:
    """Return text for XML and HTML, without terminal colors and with other control characters escaped."""
    return terminal(_COLOR.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))


LABEL_LETTERS = 80
"""Maximum length of a name in labels. Data formats contain the full name."""


def label(name: str) -> str:
    """Return a name on one line of a figure. A long name is shortened in the middle, because both ends distinguish names."""
    line = " ".join(printable(name).split())
    if len(line) <= LABEL_LETTERS:
        return line
    return f"{line[: LABEL_LETTERS // 2]}…{line[1 - LABEL_LETTERS // 2 :]}"


def markdown(text: str) -> str:
    """Return one line of GitHub Markdown that shows the text literally.

    GitHub links bare URLs, user names and issue numbers; an empty comment inside them prevents this.
    """
    line = " ".join(printable(text).split())
    escaped = "".join(_MARKDOWN.get(char, char) for char in line)
    escaped = re.sub(r"\](?=[(\[:])", r"\\]", escaped)
    return _LINKS.sub("<!-- -->", re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", escaped))


def markdown_line(text: str) -> str:
    """Return Markdown for the start of a line, where it must not become a heading or a list."""
    return re.sub(r"^(\d*)(?=[#+.)-])", r"\1\\", markdown(text))


def latex(text: str) -> str:
    """Return LaTeX that shows the text. Characters that are neither Latin nor known by name become question marks.

    Brackets are put in braces: LaTeX parses a bracket at the start of a table row as an option of the previous row.
    """
    line = " ".join(printable(text).split())
    return "".join(_LATEX.get(char, char if char < "\u0180" else "?") for char in line)


def latex_number(text: str) -> str:
    """Return LaTeX for text with numbers: with minus signs, and powers of ten in place of exponents."""
    powers = re.sub(r"e([+-])0*(\d+)", lambda match: f"E{'-' if match[1] == '-' else ''}{match[2]}", text)
    signed = latex(re.sub(r"(?<![\dE])-(?=\d)", "−", powers))
    return re.sub(r"E(-?\d+)", r"$\\cdot10^{\1}$", signed)
