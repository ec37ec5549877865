"""Random crops and flips, and normalization by the training split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.dnl.networks import DNLNetwork
from dnlbench.errors import DataError
from dnlbench.events import NetworkMeasured
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.runners.base import Job, Member
from dnlbench.runners.checkpoint import Checkpoints
from dnlbench.runners.training import TrainingRunner, augment
from dnlbench.runners.training.augment import Augmentation, crop_and_flip
from dnlbench.runners.training.data import load_dataset
from dnlbench.runners.training.data.load import _check_changes
from dnlbench.runners.training.data.normalization import Normalization
from dnlbench.runners.training.data.split import MemorySplit
from dnlbench.studies.training.spec import DataSettings

CPU = torch.device("cpu")


def augmentation(*seeds: int, samples: int = 10, batch_size: int = 4, **settings: Any) -> Augmentation:
    data = DataSettings(**{"augment": ("crop", "flip"), "crop_padding": 2, **settings})
    return Augmentation(data, seeds, samples, batch_size, CPU)


def numbered(count: int, channels: int = 2, height: int = 5, width: int = 6) -> Tensor:
    values = torch.arange(1.0, 1 + count * channels * height * width)
    return values.view(count, channels, height, width).contiguous(memory_format=torch.channels_last)


def test_crops_and_flips_are_parts_of_the_padded_image() -> None:
    images = numbered(6)
    draws = torch.tensor([[2, 2, 0], [2, 2, 1], [0, 0, 0], [4, 4, 0], [0, 3, 1], [1, 4, 0]])
    result = crop_and_flip(images, draws, padding=2)
    assert result.is_contiguous(memory_format=torch.channels_last)
    padded = functional.pad(images, [2] * 4)
    for image, source, (upper, left, flip) in zip(result, padded, draws.tolist(), strict=True):
        part = source[:, upper : upper + 5, left : left + 6]
        assert torch.equal(image, part.flip(2) if flip else part)
    assert torch.equal(result[0], images[0]), "the center is the image itself"
    assert torch.equal(result[2, :, 2:, 2:], images[2, :, :3, :4])
    assert not result[2, :, :2].any()


def test_all_positions_are_equally_likely() -> None:
    draws = augmentation(0, samples=25_000, batch_size=25_000)._draws[0, 0]
    counts = torch.zeros(5, 5, 2).index_put(tuple(draws.T), torch.ones(len(draws)), accumulate=True)
    expected = 25_000 / 50
    assert float(((counts - expected) ** 2 / expected).sum()) < 90  # chi squared, 49 degrees of freedom: p = 3e-4


def test_images_depend_on_the_seed_the_epoch_and_the_step_alone() -> None:
    images = numbered(4)

    def changed(one: Augmentation, step: int, epoch: int = 1) -> Tensor:
        one.start_epoch(epoch)
        return one(images, torch.tensor([step]))

    expected = changed(augmentation(7), 1)
    torch.manual_seed(99)
    assert torch.equal(changed(augmentation(7), 1), expected)
    later = augmentation(7)
    later.start_epoch(5)
    assert torch.equal(changed(later, 1), expected)
    for other in (changed(augmentation(8), 1), changed(augmentation(7), 0), changed(augmentation(7), 1, epoch=2)):
        assert not torch.equal(other, expected)
    batched = augmentation(8, 7)(torch.cat([images, images]), torch.tensor([1]))
    assert torch.equal(batched, torch.cat([changed(augmentation(8), 1), expected]))


def test_a_smaller_last_batch_has_the_first_draws_of_its_step() -> None:
    images = numbered(4)
    full = augmentation(1, 2)(torch.cat([images, images]), torch.tensor([2]))
    last = augmentation(1, 2)(torch.cat([images[:2], images[:2]]), torch.tensor([2]))
    assert torch.equal(last, torch.cat([full[:2], full[4:6]]))


def test_each_change_can_be_left_out() -> None:
    images = numbered(4)
    flipped = augmentation(3, augment=("flip",), crop_padding=4)(images, torch.tensor([0]))
    assert all(
        torch.equal(result, image) or torch.equal(result, image.flip(2))
        for result, image in zip(flipped, images, strict=True)
    )
    crops, both = augmentation(3, augment=("crop",)), augmentation(3)
    assert torch.equal(crops._draws[..., :2], both._draws[..., :2])
    assert not crops._draws[..., 2].any()


def test_normalized_channels_have_mean_0_and_deviation_1() -> None:
    torch.manual_seed(0)
    settings = DataSettings(dataset="synthetic", image_size=7, channels=2, samples=600, limit=500, normalize=True)
    data, raw = (
        load_dataset(each, evaluate=True) for each in (settings, settings.model_copy(update={"normalize": False}))
    )
    pixels = raw.training.inputs.double().div(255)
    mean, deviation = pixels.mean(dim=(0, 2, 3)), pixels.std(dim=(0, 2, 3), correction=0)
    assert data.info == raw.info, "the hash is that of the files"
    for ours, theirs in ((data.training, raw.training), (data.evaluation, raw.evaluation)):
        assert ours is not None
        assert theirs is not None
        (inputs, _), (before, _) = (split.batch(torch.arange(len(split))) for split in (ours, theirs))
        expected = (before.double() - mean.view(-1, 1, 1)) / deviation.view(-1, 1, 1)
        torch.testing.assert_close(inputs.double(), expected, rtol=1e-4, atol=1e-5)
        assert inputs.is_contiguous(memory_format=torch.channels_last)
    normalized = data.training.batch(torch.arange(500))[0]
    torch.testing.assert_close(normalized.mean(dim=(0, 2, 3)), torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(normalized.std(dim=(0, 2, 3), correction=0), torch.ones(2))


def test_columns_of_a_table_are_channels_and_a_constant_one_becomes_0() -> None:
    table = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    normalization = Normalization.measure(lambda indices: table[indices], 2)
    assert torch.equal(normalization(table), torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))


@pytest.mark.parametrize(
    ("inputs", "settings", "message"),
    [
        (
            torch.zeros(4, 3),
            {"augment": ("flip",)},
            r"data\.augment = \['flip'\]: the inputs are values of shape \(3,\)",
        ),
        (
            torch.zeros(4, 3, dtype=torch.int64),
            {"augment": ("crop",)},
            r"the inputs are tokens of shape \(3,\); only images",
        ),
        (torch.zeros(4, 3, dtype=torch.int64), {"normalize": True}, r"data\.normalize = true: the inputs are tokens"),
    ],
)
def test_changes_that_do_not_fit_the_inputs_are_refused(inputs: Tensor, settings: dict[str, Any], message: str) -> None:
    split = MemorySplit(inputs, torch.zeros(4, dtype=torch.int64))
    with pytest.raises(DataError, match=message):
        _check_changes(split, DataSettings(**settings))


def test_the_final_network_is_measured_on_unchanged_images(
    make_plan: Callable[..., Plan], slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augment, "crop_and_flip", lambda images, draws, padding: torch.zeros_like(images))
    plan = make_plan(
        *("sweep.networks=densenet", "sweep.depths=1", "sweep.seeds=[3]", "data.limit=76", "train.batch_size=16"),
        *("train.epochs=1", "network.blocks=1", "data.augment=flip", "data.normalize=true", "train.batch_norm=running"),
    )
    runner = TrainingRunner(plan, slot)
    member = Member(run=plan.runs[0], attempt=1, folder=tmp_path, epochs_known=0)
    events = list(runner.run(Job(members=(member,), should_suspend=lambda: False)))
    (final,) = (each for each in events if isinstance(each, NetworkMeasured) and each.stage == "final")
    network = DNLNetwork("densenet", depth=1, input_shape=(1, 8, 8), classes=10, blocks=1, growth_rate=3)
    state = Checkpoints(tmp_path).load()
    assert state is not None
    network.load_state_dict(state["network"])
    images, labels = runner.data.training.batch(torch.arange(76))
    loss = functional.cross_entropy(network.eval()(images), labels).detach()
    assert final.measurements["train_loss_evaluation"] == pytest.approx(float(loss), rel=1e-5)
