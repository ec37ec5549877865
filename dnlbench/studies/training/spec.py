"""The spec of a training sweep."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from dnlbench.architecture import (
    ARCHITECTURES,
    AskedImplementation,
    AttentionInitializationName,
    ConnectivityName,
    InitializationName,
    most_blocks,
)
from dnlbench.studies.added import Added
from dnlbench.studies.axes import Axes, Axis, Depth, Depths, Seeds
from dnlbench.studies.base import InputShape, Section, StudySpec, refuse

DatasetName = Literal["digits", "cifar10", "svhn", "image-folder", "synthetic"]

_MOST_CHANNELS = 2**16
"""The limits here are far beyond what can be trained; they tell a slip before it takes all memory."""
_MOST_EPOCHS = 10**6

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_FIXED_INPUTS: dict[str, tuple[InputShape, int]] = {
    "digits": ((1, 8, 8), 10),
    "cifar10": ((3, 32, 32), 10),
    "svhn": ((3, 32, 32), 10),
}
_FIXED_SAMPLES = {"digits": 1500, "cifar10": 50_000, "svhn": 73_257}
_ONLY_FOR = {
    "image_size": ("image-folder", "synthetic"),
    "channels": ("synthetic",),
    "classes": ("synthetic",),
    "samples": ("synthetic",),
}


def is_factory(network: str) -> bool:
    """Whether a network's name is ``package.module:factory``, a user's own."""
    return _FACTORY.fullmatch(network) is not None


def _known_network(name: str) -> str:
    if name in ARCHITECTURES or is_factory(name):
        return name
    raise PydanticCustomError(
        "unknown_choice",
        "no network of this name; a custom network is written package.module:factory",
        {"choices": list(ARCHITECTURES)},
    )


Network = Annotated[str, AfterValidator(_known_network), Field(examples=[*ARCHITECTURES, "package.module:factory"])]
Channels = Annotated[int, Field(ge=1, le=_MOST_CHANNELS)]
Epochs = Annotated[int, Field(ge=1, le=_MOST_EPOCHS)]


class TrainingAxes(Axes):
    """``[sweep]``: every network at every depth with every seed."""

    networks: Axis[Network]
    depths: Depths
    """Layers per block, L."""
    seeds: Seeds = (0, 1, 2)
    """A list, or a count n for 0 … n − 1."""


class NetworkSettings(Section):
    """``[network]``: what all networks of the sweep share."""

    blocks: Annotated[int, Field(ge=1, le=32)] = 4
    growth_rate: Channels = 6
    """Channels of each state in a dense block. The stem has twice as many."""
    compression: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the channels that a transition between dense blocks keeps."""
    bottleneck: bool = False
    """A 1×1 convolution to 4 growth rates before each 3×3 convolution (DenseNet-B)."""
    step_scaling: Literal["none", "1/L"] = "none"
    """Whether the step tau = 1/L stands before the sum over states or is absorbed in the weights."""
    connectivity: ConnectivityName = "full"
    """Which earlier states a layer of a dense network reads."""
    window: Depth | None = None
    """How many of the last states; needed by, and only for, connectivity "window"."""
    bandwidth: Annotated[float, Field(gt=0)] = 1.0
    """h of the rbf kernel exp(−‖x_i − x_j‖² / (2 h²))."""
    width: Channels | None = None
    """Channels of each state of resnet and plain; None: that of the stem, 2 growth rates."""
    implementation: AskedImplementation = "auto"
    """How training computes: lean keeps states and their batch statistics once, plain concatenates what each layer reads; auto
    is lean for dense networks on images of 256 pixels and more. The function is the same up to rounding."""
    initialization: Annotated[InitializationName, Added(before="torch")] = "kaiming"
    """How convolutions start: kaiming draws normal weights of variance 2 / fan-in and sets the classifier's bias to 0, as
    torchvision's DenseNet does; torch keeps torch's default, uniform weights of variance 1 / (3 fan-in)."""
    attention_initialization: Annotated[AttentionInitializationName, Added(before="torch")] = "unit-scores"
    """How Q and R of dense-attention start: torch keeps torch's default of a linear layer; unit-scores scales it so that the
    scores have variance 1 over the pixels that they weight, on the first 64 training images of the run."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Free keys, handed to networks named package.module:factory."""


class DataSettings(Section):
    """``[data]``: what is trained on. Pixels are scaled to [0, 1]; nothing else is done to them."""

    dataset: DatasetName = "digits"
    root: str = "data"
    """Folder of the dataset's files."""
    download: bool = False
    """Whether absent files of cifar10 and svhn may be downloaded."""
    limit: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """Train on that many samples, a fixed random choice; None: on all."""
    image_size: Annotated[int, Field(ge=1, le=2**14)] | None = None
    """Side in pixels: image-folder resizes to it (None: images are of one size already), synthetic makes it (None: 32)."""
    channels: Annotated[int, Field(ge=1, le=1024)] | None = None
    """synthetic only; None: 3."""
    classes: Annotated[int, Field(ge=2, le=10**6)] | None = None
    """synthetic only; None: 10."""
    samples: Annotated[int, Field(ge=2, le=10**7)] | None = None
    """synthetic only; None: 1024."""

    @property
    def known_input(self) -> tuple[InputShape, int] | None:
        """Shape of one image and number of classes where they are known without reading a file."""
        if self.dataset == "synthetic":
            side = self.image_size or 32
            return (self.channels or 3, side, side), self.classes or 10
        return _FIXED_INPUTS.get(self.dataset)

    @property
    def known_samples(self) -> int | None:
        """Number of training samples where it is known without reading a file."""
        samples = self.samples or 1024 if self.dataset == "synthetic" else _FIXED_SAMPLES.get(self.dataset)
        return samples and min(samples, self.limit or samples)

    def folder(self, *, training: bool) -> Path:
        """Where image-folder has the class folders of a split."""
        return Path(self.root).resolve() / ("train" if training else "test")


class TrainSettings(Section):
    """``[train]``: the protocol. The defaults are the paper's where it states one."""

    epochs: Epochs = 10
    batch_size: Annotated[int, Field(ge=2, le=2**20)] = 64
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD; beta_1 of AdamW."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    weight_decay_on: Annotated[Literal["all", "weights"], Added(before="all")] = "all"
    """What weight decay applies to: all learned parameters, or weights alone, without biases and the scales and shifts of
    norms (parameters of at most one dimension)."""
    schedule: Literal["constant", "cosine", "step"] = "constant"
    """How the learning rate moves, epoch by epoch: to 0 along half a cosine, or by step_factor every step_epochs."""
    step_epochs: Epochs | None = None
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    regulariser_weight: Annotated[float, Field(ge=0)] = 0.0
    """lambda of the objective cross-entropy + lambda R_L(parameters), Eq. (4) of the paper; with 0 R_L is not computed."""
    evaluate: bool = False
    """Whether loss and accuracy on the evaluation split are measured after each epoch, outside the clock."""
    batch_norm: Annotated[Literal["recalibrated", "running"], Added(before="running")] = "recalibrated"
    """Statistics of batch norms in evaluation mode: averages over a pass of the training split at the weights that are
    evaluated, or the running averages of training, which lag behind. Training itself is the same."""
    nudge_ulps: Annotated[int, Field(ge=0, le=1024), Added(before=0)] = 0
    """Move the first weights of each run by this many units in the last place: the sweep is then a rounding twin, which shows
    how far rounding alone moves its results; see compare --twin."""


class TrainingSpec(StudySpec):
    """A training sweep: axes, network, data and protocol."""

    study: Literal["training"] = "training"
    sweep: TrainingAxes
    network: NetworkSettings = NetworkSettings()
    data: DataSettings = DataSettings()
    train: TrainSettings = TrainSettings()

    @property
    def networks(self) -> tuple[str, ...]:
        return self.sweep.networks

    @property
    def epochs(self) -> int:
        return self.train.epochs

    def settings(self) -> dict[str, Any]:
        """Without the name and without the place of the data, whose content has a hash of its own."""
        return self.model_dump(mode="json", exclude={"name": True, "data": {"root", "download"}})

    def run_settings(self) -> dict[str, Any]:
        """Without the number of epochs, unless the learning rate depends on it: more of them go on from fewer."""
        settings = super().run_settings()
        train = {key: value for key, value in settings["train"].items() if key != "epochs"}
        return settings if self.train.schedule == "cosine" else {**settings, "train": train}

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        network, data, train = self.network, self.data, self.train
        if network.connectivity == "window" and network.window is None:
            self._refuse("network.connectivity", "needs network.window, the number of states that a layer reads")
        if network.window is not None and network.connectivity != "window":
            self._refuse("network.window", 'has an effect only with network.connectivity = "window"')
        if network.options and not any(is_factory(name) for name in self.sweep.networks):
            self._refuse(
                "network.options",
                "have an effect only on custom networks (package.module:factory), and this sweep has none",
            )
        if train.schedule == "step" and train.step_epochs is None:
            self._refuse("train.schedule", "needs train.step_epochs, the number of epochs between two steps")
        if train.step_epochs is not None and train.schedule != "step":
            self._refuse("train.step_epochs", 'has an effect only with train.schedule = "step"')
        for key, datasets in _ONLY_FOR.items():
            if getattr(data, key) is not None and data.dataset not in datasets:
                self._refuse(f"data.{key}", f"has an effect only with data.dataset = {' or '.join(datasets)}")
        self._blocks_fit_the_image()
        return self

    def _blocks_fit_the_image(self) -> None:
        known = self.data.known_input
        if known is None or not any(name in ARCHITECTURES for name in self.sweep.networks):
            return
        (_, height, width), blocks = known[0], self.network.blocks
        if blocks > (most := most_blocks(height, width)):
            reason = f"images of {height}×{width} pixels have room for at most {most} blocks, which halve them"
            self._refuse("network.blocks", reason)

    def _refuse(self, key: str, reason: str) -> None:
        section, _, name = key.partition(".")
        refuse(key, getattr(getattr(self, section), name), reason)
