"""What a diagnosis says of itself, with the process that measures made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dnlbench.diagnosis import execute
from dnlbench.diagnosis.execute import RunWithWeights, Source
from dnlbench.errors import ConfigurationError
from dnlbench.events import DataInfo
from dnlbench.studies.training import TrainingSpec
from tests.diagnosis.test_summary import block


def test_networks_of_ones_own_are_not_imported_and_no_training_is_advised(
    make_spec: Callable[..., TrainingSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile from elsewhere names any function at all."""
    monkeypatch.setattr(execute, "call", None)
    source = Source(
        name="made-up",
        path=Path("rd"),
        spec=make_spec("sweep.networks=['os:abort']"),
        data=DataInfo(name="digits", sha256="ab" * 32, samples=150, input_shape=(1, 8, 8), classes=10),
        runs=(RunWithWeights(run_id="a", network="os:abort", depth=4, seed=0, weights={"file": "x", "sha256": "0"}),),
        left_out=(),
        remedy="Finish the sweep (dnlbench run with --resume)",
    )
    with pytest.raises(ConfigurationError) as refused:
        execute.diagnose(source, device="cpu")
    assert "a: os:abort is a custom network" in str(refused.value)
    assert str(refused.value).splitlines()[-1].startswith("Only the networks of dnlbench can be diagnosed: densenet, ")


@pytest.mark.parametrize(("asked", "used"), [(40, 40), (150, 150), (1000, 150)])
def test_it_names_the_images_that_were_measured_on(
    make_spec: Callable[..., TrainingSpec], monkeypatch: pytest.MonkeyPatch, asked: int, used: int
) -> None:
    """Not those that were asked for: the data have 150."""
    questions = []

    def call(module: str, question: dict[str, Any], slot: object) -> Iterator[dict[str, Any]]:
        questions.append(question)
        yield {"run": "plain-L4", "blocks": [block(4, lambda layer, depth: 1.0, 1.0, 1.0).model_dump()]}

    monkeypatch.setattr(execute, "call", call)
    source = Source(
        name="made-up",
        path=Path("rd"),
        spec=make_spec(),
        data=DataInfo(name="digits", sha256="ab" * 32, samples=150, input_shape=(1, 8, 8), classes=10),
        runs=(
            RunWithWeights(run_id="plain-L4", network="plain", depth=4, seed=0, weights={"file": "x", "sha256": "0"}),
        ),
        left_out=(),
        remedy="",
    )
    assert execute.diagnose(source, device="cpu", samples=asked).samples == used
    assert len(questions) == 1
