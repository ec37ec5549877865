"""``dnlbench schema``."""

from __future__ import annotations

import json
import operator
from functools import reduce
from typing import Annotated, Any, Literal

import typer

from dnlbench.cli.output import guarded, write


@guarded
def schema(
    what: Annotated[Literal["spec", "profile"], typer.Argument(metavar="WHAT", help="Which form to describe.")],
) -> None:
    """Print the JSON Schema of a file.

    Of a sweep spec (one alternative for each study) or of a profile.
    """
    from pydantic import TypeAdapter

    from dnlbench.profiles import Profile
    from dnlbench.studies import STUDIES

    if what == "profile":
        content = Profile.model_json_schema(mode="serialization")
    else:
        # One adapter for all alternatives: what they refer to stands at the root then, where their references point.
        specs: Any = reduce(operator.or_, (study.spec for study in STUDIES.values()))
        content = TypeAdapter(specs).json_schema()
    write(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **content}, indent=1))
