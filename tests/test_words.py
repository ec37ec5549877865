"""Words of help, messages, docstrings, comments, names and documentation: standard terms in plain American English.

CONTRIBUTING.md has the rules. Names that are right where they stand are listed here with their reasons.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from dnlbench.cli.app import app
from dnlbench.cli.group import Group

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dnlbench"
PAGES = sorted([*PACKAGE.glob("docs/*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))])
UNITS = sorted(
    {path if path.parent == PACKAGE else PACKAGE / path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py")}
)
"""The modules and packages right below ``dnlbench``."""

EXPRESSIONS = {
    r"gone on with|go(es)? on with|tak(e|en) up again": "resume, continue",
    r"without a word": "exits unexpectedly",
    r"(put|puts|putting) aside": "suspend (a run), pause (a sweep)",
    r"(holds?|held|holding)( it| them| one| two)? against": "compare with",
    r"of (one's|your|the user's|the users') own": "custom",
    r"begun": "started",
    r"foresee|foresees|foreseen|foresaw": "estimate, predict",
    r"narrat\w*": "progress",
    r"as ever|whatever|whoever": "name the thing",
    r"there is to be|there has to be": "say what happens",
    r"carr(y|ies|ied|ying) out": "run, execute",
    r"outlook": "plan preview",
    r"(take|takes|taking|took) turns": "alternate",
    r"signs? of life": "heartbeat",
    r"machine-bound": "hardware-dependent",
    r"vs\. L before": "change per doubling",
    r"for want of": "say what is missing",
    r"colou?rs? of (its|their) own": "name the thing",
    r"colour\w*|neighbour\w*|behaviour\w*": "American spelling",
    r"(util|initial|discret|synchron|normal|regular)is(e|ed|er|ing|ation)": "American spelling",
}
"""Expressions to avoid, as regular expressions for whole words, and what to write instead."""
ANY_EXPRESSION = re.compile(rf"(?i)\b({'|'.join(EXPRESSIONS)})\b")

OPENINGS = re.compile(r"(Of|As|Whether|What|Whatever|How|So|Who|Whose|That|Where|Those|One|For|To|From|Its)\b")
"""Words that open no help line and no docstring: those open with a verb or with a noun and its article."""

AVOIDED = re.compile(
    r"""(^|_)(
    carry_out|carried|conduct|conducted|gone|taken_up|aside|hold_against|weigh|weighed|evidence|narrate|narrator|narration
    |tell|tells|teller|outset|deciding|heed|news|feed|digest|look|looks|looked|outlook|foresee|foreseen|settle|settled|question
    |ways|remembered|place|placed|rig|rigs|asking|answering|outpost|post|posts|mirror|plant|bury|stillborn|wordless|silent
    |sign_of_life|holds|wish|wishes|steering|interleave|turns|sides|side|catalogue|catalog|found|standing|ink|painting|readout
    |framing|law|laws|ruler|sheet|figures|facts|said|told|whole|machine_bound|share|drawn|trend|lean|publish|rectify|collect
    |strip|taps|hands_on|made|own|whose|whatever|begun
    )(_|$)""",
    re.VERBOSE,
)
"""Parts of names to avoid."""

NAMES = {
    "IMAGE_SIDE": "the side of a square image",
    "__post_init__": "the hook of dataclasses",
    "_made_progress": "to make progress",
    "_run_on_side_stream": "CUDA's side streams",
    "digest": "the result of a hash function",
    "chart_figures": "HTML's figure elements",
    "side": "the side of a square image",
    "side_by_side": "next to each other",
    "strip": "Textual's Strip",
}
"""Names that contain such a part, and the reasons."""


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


COMMANDS = dict(commands(typer.main.get_command(app), "dnlbench"))


def sources(unit: Path) -> list[Path]:
    return [unit] if unit.is_file() else sorted(unit.rglob("*.py"))


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of the comments, docstrings and other strings of a module that contain a space."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT or (token.type in STRINGS and " " in token.string):
            yield token.start[0], token.string


STRINGS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and text of the strings that stand alone: those below a definition and below a variable."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of all that a module defines."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name


def expressions(text: str) -> list[str]:
    """Return what to avoid in a text. Code in backticks, and in the braces of f-strings, does not count."""
    words = re.sub(r"``.*?``|`.*?`|\{[^{}]*\}", "…", " ".join(text.split()))
    if not ANY_EXPRESSION.search(words):
        return []
    return [
        f"{match[0]!r}: {advice}"
        for pattern, advice in EXPRESSIONS.items()
        for match in re.finditer(rf"(?i)\b({pattern})\b", words)
    ]


def parts(name: str) -> str:
    return "_".join(part.lower() for part in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+", name))


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_strings_and_comments_use_standard_terms(unit: Path) -> None:
    assert not [
        f"{path.relative_to(ROOT)}:{line}: {problem}"
        for path in sources(unit)
        for line, text in prose(path.read_text(encoding="utf-8"))
        for problem in expressions(text)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_pages_use_standard_terms(page: Path) -> None:
    paragraphs = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL).split("\n\n")
    assert not [f"{page.name}: {problem}" for paragraph in paragraphs for problem in expressions(paragraph)]


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_docstrings_open_with_a_verb_or_a_noun(unit: Path) -> None:
    assert not [
        f"{path.relative_to(ROOT)}:{line}: {text[:60]!r}"
        for path in sources(unit)
        for line, text in docstrings(ast.parse(path.read_text(encoding="utf-8")))
        if OPENINGS.match(text)
    ]


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_names_use_standard_terms(unit: Path) -> None:
    assert not [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sources(unit)
        for line, name in [(1, path.stem), *names(ast.parse(path.read_text(encoding="utf-8")))]
        if AVOIDED.search(parts(name)) and name not in NAMES
    ]


@pytest.mark.parametrize("path", COMMANDS, ids=str)
def test_help_is_plain(path: str) -> None:
    command = COMMANDS[path]
    texts = {"": command.help, **{param.name: param.help for param in command.params}}
    for name, text in texts.items():
        assert text, f"{path} {name}: no help"
        assert not OPENINGS.match(text), f"{path} {name}: {text}"
        assert not expressions(text), f"{path} {name}: {text}"
        assert text.endswith("."), f"{path} {name}: {text}"


@pytest.mark.parametrize("path", COMMANDS, ids=str)
def test_help_names_the_default_of_each_optional_parameter(path: str) -> None:
    ours = [
        param
        for param in COMMANDS[path].params
        if param.name not in ("version", "install_completion", "show_completion")
    ]
    assert [param.name for param in ours if not param.required and "Default: " not in param.help] == []


@pytest.mark.parametrize("path", [path for path, command in COMMANDS.items() if not isinstance(command, Group)])
def test_each_command_has_examples_that_fit_a_terminal(path: str) -> None:
    lines = COMMANDS[path].examples.splitlines()
    assert lines
    assert all(line.strip().startswith(f"{path}") and len(line) <= 80 for line in lines), lines


@pytest.mark.parametrize("path", COMMANDS, ids=str)
def test_help_fits_80_columns_and_is_plain_without_colors(path: str, run_cli: Callable[..., Any]) -> None:
    arguments = path.split()[1:]
    done = run_cli(*arguments, "-h", NO_COLOR="1", COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run_cli(*arguments, "--help", NO_COLOR="1", COLUMNS="80").stdout
    assert not re.search("[\x08\x1b]", done.stdout)
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
