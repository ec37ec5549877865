"""``dnlbench schema``."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from dnlbench.cli.output import guarded, write


@guarded
def schema(
    what: Annotated[Literal["spec", "profile"], typer.Argument(metavar="WHAT", help="Which form to describe.")],
) -> None:
    """Print the JSON Schema of a file.

    Of a sweep spec (one alternative for each study) or of a profile.
    """
    from dnlbench.profiles import Profile
    from dnlbench.studies import STUDIES

    if what == "profile":
        content = Profile.model_json_schema(mode="serialization")
    else:
        content = {"oneOf": [study.spec.model_json_schema() for study in STUDIES.values()]}
    write(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **content}, indent=1))
