"""The README and the pages of the documentation: their code blocks, commands and tables."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from dnlbench.docs import topics

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "dnlbench" / "docs"
PAGES = {"README": ROOT / "README.md", **{name: DOCS / f"{name}.md" for name in topics()}}
"""Path by name."""

API_EXAMPLES = [
    path for path in sorted((ROOT / "examples").glob("*.*")) if "dnlbench.run(" in path.read_text(encoding="utf-8")
]
"""Scripts and notebooks that use the Python API. The other examples are files of the pages."""

_BLOCK = re.compile(
    r"(?:^<!-- (?P<comment>.*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_RULE = re.compile(r"\s*─{5,}\s*")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced code block, with the HTML comment on the line before it."""

    language: str
    text: str
    comment: str

    @property
    def file(self) -> str | None:
        """The file to save the block as: ``<!-- file: NAME -->``."""
        return self.comment.removeprefix("file: ") if self.comment.startswith("file: ") else None

    @property
    def runs(self) -> bool:
        """Whether tests run the block: ``<!-- not run: REASON -->`` exempts it, and ``.ci/run`` runs the README's commands."""
        return self.file is None and not self.comment.startswith(("not run: ", "command: "))

    def commands(self) -> list[str]:
        """Return the shell commands, each on one line: all lines of ``sh``, and lines of ``console`` that start with ``$``."""
        text = self.text.replace("\\\n", " ")
        match self.language:
            case "sh":
                return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
            case "console":
                return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
        return []


def read(name: str) -> str:
    return PAGES[name].read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    """Return the code blocks of a page."""
    return [
        Block(language=match["language"], text=match["text"], comment=match["comment"] or "")
        for match in _BLOCK.finditer(text)
    ]


def calls(command: str) -> list[list[str]]:
    """Return the arguments of each dnlbench call in a shell command."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for token in lexer:
        if set(token) <= set("();<>|&"):
            parts.append([])
        else:
            parts[-1].append(token)
    return [part[1:] for part in parts if part and Path(part[0]).name == "dnlbench"]


def table_heads(text: str) -> list[Counter[str]]:
    """Return the words of each table's title and head: the lines above a rule, up to an empty line, a command or an ``…``."""
    heads, above = [], Counter[str]()
    for line in text.splitlines():
        if _RULE.fullmatch(line):
            heads.append(above)
        above = Counter() if line in ("", "…") or line.startswith("$ ") else above + Counter(line.split())
    return heads
