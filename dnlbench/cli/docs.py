"""``dnlbench docs``: the documentation in the terminal."""

from __future__ import annotations

import re
import sys
from typing import Annotated

from dnlbench.cli import complete, options
from dnlbench.cli.output import guarded, show, write, write_json
from dnlbench.report.console import console


@guarded
def docs(
    topic: Annotated[
        str | None,
        options.Argument(
            metavar="TOPIC", help="Topic to print. Default: list all topics.", autocompletion=complete.topics
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Print a page of the documentation, or list the topics."""
    from dnlbench.docs import read_topic, topics
    from dnlbench.errors import ConfigurationError, did_you_mean
    from dnlbench.report.grid import Column, Grid

    titles = topics()
    if topic is None:
        if json:
            write_json({"topics": [{"topic": name, "title": title} for name, title in titles.items()]})
        else:
            columns = [Column(head="topic"), Column(head="title")]
            show(Grid(title="Documentation: dnlbench docs TOPIC", columns=columns, rows=list(titles.items())))
        return
    if topic not in titles:
        near = did_you_mean(topic, titles) or "."
        raise ConfigurationError(f"no topic {topic!r}{near} Topics: {', '.join(titles)}")
    text = read_topic(topic)
    if json:
        write_json({"topic": topic, "title": titles[topic], "text": text})
    elif sys.stdout.isatty():
        _render(text)
    else:
        write(text)


def _render(text: str) -> None:
    """Render Markdown. Links between pages cannot be followed in a terminal: they become names of topics."""
    from rich.markdown import Markdown

    text = re.sub(r"\[([^]]+)\]\((?!\w+:)[^)]*\)", r"*\1*", text)
    console(sys.stdout).print(Markdown(text, code_theme="ansi_dark", hyperlinks=False))
