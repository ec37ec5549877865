"""A made-up laboratory: profiles whose truth is known, with the noise that real ones have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from dnlbench.profiles import Profile

MakeProfile = Callable[..., Profile]


@dataclass(frozen=True, kw_only=True)
class Laboratory:
    """Measures a result twice, anew every time."""

    template: Profile
    """A run for each network, depth and seed; what is measured of them is overwritten."""
    random: np.random.Generator
    noise: float = 0.03
    """Of a single run, on the logarithm; nothing makes it equal on both sides."""
    wander: float = 0.03
    """Of the machine's speed, on the logarithm, between the first run and the last."""

    def measure_twice(
        self, *, slower: float = 1.0, loss: float = 1.0, memory: float = 1.0, together: bool = True, shift: float = 0.0
    ) -> tuple[Profile, Profile]:
        """Reference and candidate.

        The candidate takes ``slower`` times the time and reaches ``loss`` times the loss. Seeds differ by 20 % in the loss and
        are the same on both sides; the machine wanders over the runs, equally for both where they take turns
        (``together``), and each of them apart, with a jump of up to ``shift`` between them, where not.
        """
        count, draw = len(self.template.runs), self.random.normal
        seeds = draw(0, 0.2, 100)
        wandering = [self.wander * np.cumsum(draw(0, 1, count)) / np.sqrt(count) for _ in range(2)]
        jump = 0.0 if together else self.random.uniform(-shift, shift)
        sides = []
        for side, (time, factor, bytes_) in enumerate(((1.0, 1.0, 1.0), (slower, loss, memory))):
            drift = wandering[0 if together else side] + jump * side
            rates, losses = draw(0, self.noise, count) + drift, draw(0, self.noise, count)
            runs = tuple(
                run.model_copy(
                    update={
                        "samples_per_s": 1000 / run.depth / time * float(np.exp(rate)),
                        "final_train_loss": factor / run.depth * float(np.exp(own + seeds[run.seed])),
                        "peak_memory_bytes": round(2**24 * run.depth * bytes_),
                    }
                )
                for run, rate, own in zip(self.template.runs, rates, losses, strict=True)
            )
            sides.append(self.template.model_copy(update={"runs": runs, "interleaved": "ab" if together else None}))
        return sides[0], sides[1]


MakeLaboratory = Callable[..., Laboratory]


@pytest.fixture
def make_laboratory(make_profile: MakeProfile) -> MakeLaboratory:
    def make(
        random_seed: int,
        *,
        networks: Sequence[str] = ("densenet", "dense-attention", "dense-gaussian"),
        depths: Sequence[int] = (2, 4, 8),
        seeds: int = 5,
        **noises: float,
    ) -> Laboratory:
        points = {(network, depth): [0.1] * seeds for network in networks for depth in depths}
        return Laboratory(template=make_profile(points), random=np.random.default_rng(random_seed), **noises)

    return make
