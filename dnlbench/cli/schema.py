"""``dnlbench schema``."""

from __future__ import annotations

import json
import operator
from functools import reduce
from typing import Annotated, Any, Literal

from dnlbench.cli import options
from dnlbench.cli.output import guarded, write


@guarded
def schema(
    what: Annotated[
        Literal["spec", "profile"], options.Argument(metavar="spec|profile", help="File format to describe.")
    ],
) -> None:
    """Print the JSON Schema of specs or profiles.

    The schema of specs has one alternative for each study.
    """
    from pydantic import TypeAdapter

    from dnlbench.profiles import Profile
    from dnlbench.studies import STUDIES

    if what == "profile":
        content = Profile.model_json_schema(mode="serialization")
    else:
        # A single adapter for all alternatives puts their definitions at the root, where their references point.
        specs: Any = reduce(operator.or_, (study.spec for study in STUDIES.usable().values()))
        content = TypeAdapter(specs).json_schema()
    write(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **content}, indent=1))
