"""Groups of commands that say where a command is, if it is in another group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from typer.core import TyperGroup


class Group(TyperGroup):
    """A group whose errors point to commands of the whole program."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Look a command up; the error for an unknown name suggests commands of that name in other groups, or similar names."""
        if args and args[0][:1] != "-" and self.get_command(ctx, args[0]) is None:
            root = ctx.find_root()
            paths = list(_paths(root.command.commands, root.info_name))
            names = dict.fromkeys(path.rpartition(" ")[2] for path in paths)
            near = [args[0]] if args[0] in names else get_close_matches(args[0], names)
            found = [f"`{path}`" for name in near for path in paths if path.endswith(f" {name}")]
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {' or '.join(found)}?" if found else ""))
        return super().resolve_command(ctx, args)


def _paths(commands: Mapping[str, Any], above: str) -> Iterator[str]:
    for name, command in commands.items():
        yield f"{above} {name}"
        yield from _paths(getattr(command, "commands", {}), f"{above} {name}")
