"""Figures that are made up: what they add up to, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from dnlbench.diagnosis import (
    BlockRecord,
    Diagnosis,
    LeftOut,
    RunMetrics,
    TrainingBlockRecord,
    TrainingRecord,
    mean_series,
    summarize_runs,
)
from dnlbench.diagnosis.findings import findings_of, never_learned_findings
from dnlbench.report.diagnosis import diagnosis_csv, diagnosis_grids, diagnosis_header

Law = Callable[[int, int], float]
"""A value of layer l at depth L."""


def block(
    depth: int, states: Law, parameters: float, noise: float, *, first: int = 0, decay: float = 0.0
) -> BlockRecord:
    steps = [states(layer, depth) * noise for layer in range(depth)]
    series = (*[None] * first, *steps[first:])
    return BlockRecord(
        first_state=first,
        state_step=series,
        map_distance=series,
        filter_distance=(None,) * depth if first else series,
        parameter_step=(*[parameters * noise] * (depth - 1), None),
        roughness={"all": parameters * noise} if depth > 1 else {},
        pattern_change=(*[0.25] * (depth - 1), None),
        forward=(2.0,) * (depth + 1),
        state_gradient=tuple(math.exp(-decay * (depth - layer)) for layer in range(depth + 1)),
        parameter_gradient=(1.0,) * depth,
    )


def in_training(depth: int, decay: float, layers: float) -> TrainingRecord:
    """Gradients of states that fall by ``decay`` a layer on the way back, and of parameters by a factor in all."""
    seen = TrainingBlockRecord(
        forward=(2.0,) * (depth + 1),
        state_gradient=tuple(math.exp(-decay * (depth - layer)) for layer in range(depth + 1)),
        parameter_gradient=(layers, *(1.0,) * (depth - 1)) if depth > 1 else (1.0,),
    )
    return TrainingRecord(loss=0.1, blocks=(seen, seen))


def runs(
    network: str,
    states: Law,
    parameters: Callable[[int], float],
    seeds: Sequence[float],
    depths: Sequence[int],
    decay: float = 0.0,
    layers: float = 1.0,
) -> list[RunMetrics]:
    """Seeds differ by a factor."""
    first = int(network.startswith("dense"))
    return [
        RunMetrics(
            run_id=f"{network}-L{depth}-s{seed}",
            network=network,
            depth=depth,
            seed=seed,
            blocks=(block(depth, states, parameters(depth), noise * (1 + 0.01 * (depth % 3)), first=first),) * 2,
            training=in_training(depth, decay, layers),
        )
        for depth in depths
        for seed, noise in enumerate(seeds)
    ]


NOISES = (0.99, 1.0, 1.01)
DEPTHS = (4, 8, 16)


def read(found: Sequence[RunMetrics]) -> dict[str, tuple[str, ...]]:
    return findings_of(*summarize_runs(found))


def test_smooth_networks_are_called_smooth() -> None:
    said = read(runs("resnet", lambda layer, depth: 1 / depth, lambda depth: 3 / depth, NOISES, DEPTHS))["resnet"]
    assert len(said) == 4
    states, parameters, maps, gradients = said
    assert "consistent with a continuous limit" in states
    assert "like samples of smooth curves" in parameters
    assert "so their sum over L layers stays bounded" in maps
    assert "they neither vanish nor explode" in gradients


def test_rough_networks_are_called_rough() -> None:
    said = read(runs("resnet", lambda layer, depth: depth**-0.5, lambda depth: math.sqrt(2), NOISES, DEPTHS))["resnet"]
    states, parameters, maps, _ = said
    assert "L^−0.5" in states
    assert "slower than a continuous limit, L^−1" in states
    assert "they hardly change with L" in parameters
    assert "far from the smooth regime that the regularizer enforces" in parameters
    assert "their sum over L layers grows" in maps


ONE = (
    "consistent with a continuous limit",
    "like samples of smooth curves",
    "so their sum over L layers stays bounded",
)
FASTER = (
    "faster than a continuous limit predicts",
    "faster than samples of smooth curves",
    "so their sum over L layers falls",
)
SLOWER = (
    "slower than a continuous limit, L^−1",
    "neither clearly smooth nor clearly rough",
    "so their sum over L layers grows",
)
OPEN = ("inconclusive, L^−1 or slower", SLOWER[1], "inconclusive, L^−1 or slower")


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.9, 1.1, ONE),
        (0.51, 1.0, ONE),
        (1.0, 1.2, ONE),
        (0.9, 0.996, ONE),  # as it is shown: 1.00
        (0.5, 1.1, OPEN),
        (0.02, 1.9, OPEN),
        (-0.5, 1.9, OPEN),
        (1.5, 2.0, FASTER),
        (1.01, 1.1, FASTER),
        (0.7, 0.99, SLOWER),
        (-0.5, 0.2, SLOWER),
        (-2.0, -1.0, SLOWER),
    ],
)
def test_an_order_is_held_against_1_by_its_whole_interval(low: float, high: float, said: tuple[str, ...]) -> None:
    """Of states, of parameters that are not rough, and of maps."""
    points, trends = summarize_runs(runs("resnet", lambda _, depth: 1 / depth, lambda depth: 3 / depth, NOISES, DEPTHS))
    order = {"order": (low + high) / 2, "low": low, "high": high}
    lines = findings_of(points, [trend.model_copy(update=order) for trend in trends])["resnet"]
    for line, what in zip(lines, said, strict=False):
        conclusion = line.partition("]: ")[2]
        assert conclusion.partition(";")[0] == what


@pytest.mark.parametrize(
    ("low", "said"),
    [
        (0.9, ": like the integrand of a continuous limit"),
        (1.1, ": faster than the integrand of a continuous limit"),
        (0.1, "inconclusive, L^−1 or slower"),
    ],
)
def test_dense_maps_are_held_against_an_integral(low: float, said: str) -> None:
    points, trends = summarize_runs(runs("densenet", lambda _, depth: 1 / depth, lambda depth: 1.4, NOISES, DEPTHS))
    order = {"order": 1.0, "low": low, "high": 1.2}
    assert findings_of(points, [trend.model_copy(update=order) for trend in trends])["densenet"][2].endswith(said)


def test_maps_that_come_near_to_the_identity_along_the_layers_are_told() -> None:
    found = runs("plain", lambda layer, depth: (layer + 1) ** -1.5, lambda depth: 1.4, NOISES, DEPTHS)
    _, trends = summarize_runs(found)
    (along,) = [trend for trend in trends if (trend.quantity, trend.along) == ("map_distance", "l")]
    assert along.order == pytest.approx(1.5)
    assert (along.depth, along.n) == (16, 3)
    assert "along the layers they fall like l^−1.50" in read(found)["plain"][2]


def test_of_one_seed_nothing_is_concluded() -> None:
    said = read(runs("resnet", lambda layer, depth: 1 / depth, lambda depth: 1.4, [1.0], DEPTHS))["resnet"]
    assert all("one seed: no interval" in line for line in said[:3])
    assert not any("far from" in line or "consistent with" in line for line in said)


def test_too_few_depths_or_layers_are_named() -> None:
    said = read(runs("plain", lambda layer, depth: 1.0, lambda depth: 1.4, NOISES, [2]))["plain"]
    assert "too few depths: 1, an order needs 2" in said[0]
    assert "along the layers they have no fit: too few layers: 2, an order needs 4" in said[2]


def test_networks_that_stand_still_have_no_order_and_no_crash() -> None:
    said = read(runs("resnet", lambda layer, depth: 0.0, lambda depth: 0.0, NOISES, DEPTHS))["resnet"]
    assert "differences are 0" in said[0]
    assert "a fit needs positive finite values" in said[0]


@pytest.mark.parametrize(("decay", "word"), [(0.5, "vanish"), (-0.5, "explode")])
def test_gradients_that_vanish_or_explode_are_called_so(decay: float, word: str) -> None:
    said = read(runs("plain", lambda layer, depth: 1.0, lambda depth: 1.4, NOISES, [16], decay=decay))["plain"]
    assert f"they {word} in the backward pass, by a factor of {math.exp(-decay):.2f} per layer" in said[-1].replace(
        "inf", ""
    )


def test_gradients_are_judged_in_training_mode_and_of_parameters_too() -> None:
    """Evaluation mode shows equal gradients in all layers here."""
    found = runs("plain", lambda layer, depth: 1.0, lambda depth: 1.4, NOISES, [16], layers=150.0)
    assert "first over last layer 150 ± 0; they explode in the backward pass" in read(found)["plain"][-1]
    unseen = [run.model_copy(update={"training": None}) for run in found]
    assert read(unseen)["plain"][-1] == "gradients: not measured in training mode at L=16; no conclusion is drawn"


def test_nothing_is_concluded_from_networks_that_never_learned() -> None:
    found = runs("plain", lambda layer, depth: 1 / depth, lambda depth: 3 / depth, NOISES, (2, 4, 8, 16))
    found = [run.model_copy(update={"never_learned": run.depth == 16}) for run in found]
    never = never_learned_findings(found, 10)
    assert never == {
        "plain": (
            "L=16: 3 of 3 runs never learned: training loss 0.1, not below 0.9 times ln(10) = 2.30; "
            "no conclusion is drawn from the weights",
        )
    }
    learned = [run for run in found if run.depth < 16]
    said = findings_of(*summarize_runs(learned), never_learned=never)["plain"]
    assert said == (*never["plain"], *read(learned)["plain"])
    assert all("L=16" not in line for line in said[1:])
    assert findings_of((), (), never_learned=never) == never


def test_dense_networks_are_read_from_the_first_state_on() -> None:
    found = runs("densenet", lambda layer, depth: 100.0 if layer == 0 else 0.5, lambda depth: 1.4, NOISES, [8])
    points, _ = summarize_runs(found)
    assert points[0].quantities["state_step"].mean == pytest.approx(0.51, abs=0.01)
    assert "filter_distance" not in points[0].quantities
    assert mean_series(found, "state_step")[0] is None


def test_a_seed_that_is_absent_at_a_depth_takes_no_part_in_the_order() -> None:
    found = runs("plain", lambda layer, depth: 1 / depth, lambda depth: 1.4, NOISES, DEPTHS)
    _, trends = summarize_runs([run for run in found if (run.seed, run.depth) != (2, 8)])
    assert {trend.n for trend in trends if trend.along == "L"} == {2}


def diagnosis() -> Diagnosis:
    found = [
        *runs("densenet", lambda layer, depth: 1.4, lambda depth: 1.4, NOISES, DEPTHS),
        *runs("plain", lambda layer, depth: 1 / (layer + 1), lambda depth: 1.4, NOISES, (1, 2)),
    ]
    points, trends = summarize_runs(found)
    return Diagnosis(
        name="made-up",
        source="rd",
        samples=128,
        device="a processor",
        points=points,
        trends=trends,
        findings=findings_of(points, trends),
        runs=tuple(found),
        left_out=(LeftOut(run_id="plain-L4", reason="ended as failed", ended_well=False),),
    )


def test_tables_fit_eighty_columns() -> None:
    from rich.console import Console

    console = Console(width=80, height=50, force_terminal=False)
    for grid in diagnosis_grids(diagnosis()):
        with console.capture() as capture:
            console.print(grid.to_rich(80))
        lines = capture.get().splitlines()
        assert max(map(len, lines)) <= 80
        assert not any("…" in line for line in lines)
    assert max(map(len, diagnosis_header(diagnosis()).splitlines())) <= 80


def test_deep_networks_are_shown_at_some_layers() -> None:
    grids = {grid.title: grid for grid in diagnosis_grids(diagnosis())}
    shown = [row[0] for row in grids["densenet L=16, layer by layer"].rows]
    assert shown == ["0", "1", "2", "3", "4", "6", "8", "12", "15", "16"]
    assert [row[0] for row in grids["plain L=2, layer by layer"].rows] == ["0", "1", "2"]


def test_the_csv_has_every_figure_and_json_comes_back() -> None:
    found = diagnosis()
    rows = diagnosis_csv(found).splitlines()
    assert rows[0] == "run_id,network,depth,seed,block,layer,quantity,value"
    assert "plain-L2-s1,plain,2,1,0,1,state_step,0.51" in rows
    assert "plain-L2-s1,plain,2,1,1,,roughness of all,1.428" in rows
    assert Diagnosis.model_validate_json(found.to_json()) == found
