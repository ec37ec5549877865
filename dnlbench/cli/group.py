"""Commands and groups of commands: help in panels, and errors that point to commands of other groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

HELP = {"help_option_names": ["-h", "--help"]}
"""Context settings of a program. Its commands inherit them."""


class _PanelHelp:
    """Help in Rich panels, with examples below. Usage errors stay plain lines, which can be copied and searched."""

    help: str | None
    epilog: str | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples, self.epilog = self.epilog or "", None  # Typer's versions break its lines in different ways
        self.help = escape(_unwrapped(self.help or ""))

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if param.param_type_name == "argument":  # Typer prints Python types, such as list[Path], beside the name
                param.display_type_rich = lambda ctx: None
            elif getattr(param, "is_flag", False):
                param.metavar = ""
        return params

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from typer.rich_utils import rich_format_help

        command: Any = self
        rich_format_help(obj=command, ctx=ctx, markup_mode="rich")
        if self.examples:
            formatter.write(f" Examples\n{self.examples}\n")


class Command(_PanelHelp, TyperCommand):
    """A command with help in panels."""


class Group(_PanelHelp, TyperGroup):
    """A group of commands with help in panels."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return a command. The error for an unknown name suggests that name in other groups, or similar names."""
        if args and args[0][:1] != "-" and self.get_command(ctx, args[0]) is None:
            root = ctx.find_root()
            paths = list(_paths(root.command.commands, root.info_name))
            names = dict.fromkeys(path.rpartition(" ")[2] for path in paths)
            near = [args[0]] if args[0] in names else get_close_matches(args[0], names)
            suggestions = [f"`{path}`" for name in near for path in paths if path.endswith(f" {name}")]
            hint = f" Did you mean {' or '.join(suggestions)}?" if suggestions else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


def _paths(commands: Mapping[str, Any], parent: str) -> Iterator[str]:
    for name, command in commands.items():
        yield f"{parent} {name}"
        yield from _paths(getattr(command, "commands", {}), f"{parent} {name}")


def _unwrapped(text: str) -> str:
    r"""Join the lines of each paragraph, which are as wide as source code. Paragraphs that open with ``\b`` keep them."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        f"\b{part[1:].strip()}" if part.startswith("\b") else " ".join(part.split()) for part in paragraphs
    )


def examples(*commands: str) -> str:
    """Return the epilog of a command: one example on each line."""
    return "\n".join(f"   {command}" for command in commands)
