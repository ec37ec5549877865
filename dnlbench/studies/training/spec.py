"""The spec of a training sweep."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from dnlbench.architecture import (
    ARCHITECTURES,
    AttentionInitializationName,
    ConnectivityName,
    InitializationName,
    RequestedImplementation,
    most_blocks,
)
from dnlbench.registry import Registry
from dnlbench.studies.added import Added, Renamed
from dnlbench.studies.axes import Axes, Axis, Depth, Depths, Seeds, distinct
from dnlbench.studies.base import InputShape, Match, Point, Section, StudySpec, refuse
from dnlbench.studies.training.datasets import CUSTOM_KEYS, DATASETS, DatasetDeclaration, datasets_with
from dnlbench.studies.training.match import MatchSettings, check_match, match_depth
from dnlbench.studies.training.objectives import METRICS, OBJECTIVES, key_of, measured_metrics, objective_named
from dnlbench.studies.training.tune import TuneSettings, check_tune

Transformation = Literal["crop", "flip"]

T = TypeVar("T", int, str)

_MOST_CHANNELS = 2**16
"""The limits here are far above practical sizes; they catch typing errors early."""
_MOST_EPOCHS = 10**6
_LARGEST_STEP_EXPONENT = 4
LEAST_STEP_EXPONENT = 0.5
"""Exponent of the step from which on the sum of random branches stays bounded at any depth."""

NETWORKS = Registry(kind="network", built_in=ARCHITECTURES, form="package.module:factory")
_REQUIRES = {
    "step_epochs": ("schedule", "step"),
    "milestones": ("schedule", "milestones"),
    "nesterov": ("optimizer", "sgd"),
    "beta2": ("optimizer", "adam", "adamw"),
    "eps": ("optimizer", "adam", "adamw"),
}
"""Keys of ``[train]`` with an effect only for some values of another key."""
_FROM_EPOCHS = frozenset({"last_epochs", "target_loss"})
"""Keys of ``[train]`` whose results follow from the epochs of a run."""
_MEASURED_ALIKE = {f"train.{key}" for key in ("objective", "metrics", "evaluate", "evaluate_training", *_FROM_EPOCHS)}
"""Keys that decide what is measured, in which unit."""


def is_factory(network: str) -> bool:
    """Return true for the name of a custom network: ``package.module:factory``, or an entry point."""
    return NETWORKS.is_custom(network)


def _one_of(registry: Registry[Any]) -> AfterValidator:
    """Return a validator for names of a registry."""

    def check(name: str) -> str:
        if name in registry:
            return name
        raise PydanticCustomError(
            "unknown_choice",
            "no {kind} with this name; a custom {kind} is written {form}",
            {"kind": registry.kind, "form": registry.form, "choices": list(registry.names)},
        )

    return AfterValidator(check)


def _ascending(values: tuple[T, ...]) -> tuple[T, ...]:
    """Sort the values, whose order has no meaning, and reject repeated ones."""
    return tuple(sorted(distinct(values)))


Network = Annotated[str, _one_of(NETWORKS), Field(examples=[*ARCHITECTURES, "package.module:factory"])]
DatasetName = Annotated[str, _one_of(DATASETS), Field(examples=[*DATASETS.built_in, "package.module:factory"])]
Objective = Annotated[str, _one_of(OBJECTIVES), Field(examples=[*OBJECTIVES.built_in, OBJECTIVES.form])]
Metric = Annotated[str, _one_of(METRICS), Field(examples=[*METRICS.built_in, METRICS.form])]
Channels = Annotated[int, Field(ge=1, le=_MOST_CHANNELS)]
Epochs = Annotated[int, Field(ge=1, le=_MOST_EPOCHS)]
Milestones = Annotated[tuple[Epochs, ...], Field(min_length=1), AfterValidator(_ascending)]


class TrainingAxes(Axes):
    """``[sweep]``: every network at every depth with every seed."""

    networks: Axis[Network]
    """Built-in networks, or custom ones as ``package.module:factory``."""
    depths: Depths
    """Layers per block, L."""
    seeds: Seeds = (0, 1, 2)
    """A list, or a count n for the seeds 0 … n − 1."""


class NetworkSettings(Section):
    """``[network]``: settings of all networks of the sweep."""

    blocks: Annotated[int, Field(ge=1, le=32)] = 4
    """Number of blocks. Each transition between two blocks halves the sides of the image."""
    growth_rate: Channels = 6
    """Channels of a state in a dense block."""
    stem: Annotated[Channels | None, Added(before=None)] = None
    """Channels of the first convolution. Default: 2 × growth_rate."""
    compression: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Fraction of the channels that a transition between dense blocks keeps."""
    bottleneck: bool = False
    """Put a 1×1 convolution with 4 × growth_rate channels before each 3×3 one (DenseNet-B)."""
    dropout: Annotated[float, Field(ge=0, lt=1), Added(before=0.0)] = 0.0
    """Probability of setting an output of a convolution to 0 in training, for all convolutions except the first."""
    step_scaling: Annotated[
        Annotated[float, Field(ge=0, le=_LARGEST_STEP_EXPONENT)], Renamed({"none": 0.0, "1/L": 1.0})
    ] = 0.0
    """Exponent α of the step (L / base_depth)^-α before the sum over states, or before the branch of resnet. 0: no step."""
    base_depth: Annotated[Depth, Added(before=1)] = 1
    """Depth at which the step is 1 and train.depth_lr changes nothing."""
    connectivity: ConnectivityName = "full"
    """States that a layer of a dense network reads: all, the last `window`, or those at distances 1, 2, 4, 8, …"""
    window: Depth | None = None
    """Number of states that a layer reads. Required with connectivity window, refused otherwise."""
    bandwidth: Annotated[float, Field(gt=0)] = 1.0
    """h of the kernel of dense-rbf, exp(−‖x_i − x_j‖² / (2 h²))."""
    width: Channels | None = None
    """Channels of each state of resnet and plain. Default: those of the stem."""
    implementation: Annotated[RequestedImplementation, Renamed({"lean": "memory-efficient", "plain": "standard"})] = (
        "auto"
    )
    """memory-efficient stores each state once, standard concatenates the inputs of each layer, auto chooses by image size.
    Equal up to rounding."""
    initialization: Annotated[InitializationName, Added(before="torch")] = "kaiming"
    """Initial weights of convolutions: kaiming has variance 2 / fan-in, torch is torch's default, uniform with variance 1 /
    (3 fan-in)."""
    attention_initialization: Annotated[AttentionInitializationName, Added(before="torch")] = "unit-scores"
    """Initial Q and R of dense-attention: unit-scores scales them so that attention scores have variance 1, torch keeps
    torch's default."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Free keys for custom networks."""


class DataSettings(Section):
    """``[data]``: the training data. Pixels are scaled to [0, 1]."""

    dataset: DatasetName = "digits"
    """The data set to train on: a built-in one, one of an installed package, or a custom one as package.module:factory."""
    root: str = "data"
    """Folder that contains the files of the data set. For npz and csv it can also be the file."""
    download: bool = False
    """Download the files of a public data set if they are missing."""
    limit: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """Train on this many samples, a fixed random subset. Default: all."""
    image_size: Annotated[int, Field(ge=1, le=2**14)] | None = None
    """Side in pixels: image-folder resizes to it (default: keep the size), synthetic generates it (default: 32)."""
    channels: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Channels of synthetic images. Default: 3."""
    classes: Annotated[int, Field(ge=2, le=10**6)] | None = None
    """Classes of synthetic images (default: 10), or number of classes or tokens of your data (default: the largest plus 1)."""
    samples: Annotated[int, Field(ge=2, le=10**7)] | None = None
    """Number of synthetic training images. Default: 1024."""
    normalize: Annotated[bool, Added(before=False)] = False
    """Give each channel mean 0 and standard deviation 1 over the training split. Both splits are shifted and scaled alike."""
    augment: Annotated[tuple[Transformation, ...], AfterValidator(_ascending), Added(before=[])] = ()
    """Random changes of training images: crop shifts an image by up to crop_padding pixels, flip mirrors every second one."""
    crop_padding: Annotated[int, Field(ge=1, le=2**10), Added(before=4)] = 4
    """Pixels of value 0 around an image before crop cuts out a random part of the original size."""
    target: Annotated[str | None, Added(before=None)] = None
    """Column of a csv table to predict. The other columns are the inputs."""
    target_type: Annotated[Literal["classes", "values"] | None, Added(before=None)] = None
    """Read the target column of a csv table as classes or as values. Default: text as classes, numbers as values."""
    evaluation_fraction: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, Added(before=None)] = None
    """Evaluate on this fraction of the training split, a fixed random choice that is not trained on. Default: evaluate on the
    evaluation split of the data set."""
    stream: Annotated[bool, Added(before=False)] = False
    """Read each batch when it is needed instead of keeping the data on the device. Custom data sets that exceed half of the
    free memory are always streamed."""
    workers: Annotated[Annotated[int, Field(ge=0, le=1024)], Added(before=0)] = 0
    """Processes that read streamed data ahead. 0 reads them in the training process."""
    options: Annotated[dict[str, Any], Added(before={})] = Field(default_factory=dict)
    """Free keys for custom data sets."""

    @property
    def declaration(self) -> DatasetDeclaration | None:
        """The declaration of a built-in dataset; None for a custom one."""
        return DATASETS.built_in.get(self.dataset)

    @property
    def known_input(self) -> tuple[InputShape, int] | None:
        """Shape of an image and number of classes, or None if a file must be read to know them."""
        known = self.declaration
        if known is None or known.input_shape is None or known.classes is None:
            return None
        channels, height, width = known.input_shape
        shape = (self.channels or channels, self.image_size or height, self.image_size or width)
        return shape, self.classes or known.classes

    @property
    def known_samples(self) -> int | None:
        """Number of training samples, or None if a file must be read to know it."""
        samples = self.samples or (self.declaration.samples if self.declaration else None)
        if samples is None:
            return None
        left = samples - self.held_out(samples)
        return min(left, self.limit or left)

    def held_out(self, samples: int) -> int:
        """Return the number of samples that ``evaluation_fraction`` takes from a training split of this size."""
        return 0 if self.evaluation_fraction is None else max(1, round(samples * self.evaluation_fraction))

    def reads_training_files(self, *, training: bool) -> bool:
        """Return True if a split comes from the files of the training split."""
        return training or self.evaluation_fraction is not None

    @property
    def unused_key(self) -> str | None:
        """A key that is set but has no effect on the dataset; None if there is none."""
        special = CUSTOM_KEYS.union(*(each.keys for each in DATASETS.built_in.values()))
        unused = special - (self.declaration.keys if self.declaration else CUSTOM_KEYS)
        return next((key for key in sorted(unused) if getattr(self, key) not in (None, {})), None)


class TrainSettings(Section):
    """``[train]``: the training protocol. Defaults are those of the paper where it states them."""

    epochs: Epochs = 10
    """Passes over the training split."""
    batch_size: Annotated[int, Field(ge=2, le=2**20)] = 64
    """Samples per training step."""
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """SGD with momentum, Adam, or AdamW, whose weight decay is separate from the gradient."""
    lr: Annotated[float, Field(gt=0)] = 0.01
    """Learning rate of the first epoch, after the warm-up."""
    depth_lr: Annotated[Literal["none", "matched"], Added(before="none")] = "none"
    """matched scales the learning rate of each part of a network with depth, so that one lr serves all depths."""
    warmup_steps: Annotated[int, Field(ge=0, le=10**9), Added(before=0)] = 0
    """Training steps over which the learning rate grows linearly to that of the schedule."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of sgd, or beta_1 of adam and adamw."""
    nesterov: Annotated[bool, Added(before=False)] = False
    """Use Nesterov's momentum in sgd."""
    beta2: Annotated[float, Field(ge=0, lt=1), Added(before=0.999)] = 0.999
    """beta_2 of adam and adamw."""
    eps: Annotated[float, Field(gt=0), Added(before=1e-8)] = 1e-8
    """Epsilon of adam and adamw."""
    clip_norm: Annotated[Annotated[float, Field(gt=0)] | None, Added(before=None)] = None
    """Largest Euclidean norm of a network's gradient. A longer gradient is scaled to it. Default: no limit."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of the optimizer."""
    weight_decay_on: Annotated[Literal["all", "weights"], Added(before="all")] = "all"
    """Parameters that decay: all, or weights only, without biases and the scales and shifts of norms."""
    schedule: Literal["constant", "cosine", "step", "milestones"] = "constant"
    """Learning rate by epoch: constant, half a cosine to 0, or times step_factor every step_epochs or at milestones."""
    step_epochs: Epochs | None = None
    """Epochs between two steps of the learning rate. Required with schedule step, refused otherwise."""
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor on the learning rate at each step of schedule step, or at each milestone."""
    milestones: Annotated[Milestones | None, Added(before=None)] = None
    """Numbers of epochs after which the learning rate changes. Required with schedule milestones, refused otherwise."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """Arithmetic of training: single precision, TF32 matrix products, or autocast to bfloat16."""
    regulariser_weight: Annotated[float, Field(ge=0)] = 0.0
    """λ of the sum of loss and λ R_L, Eq. (4) of the paper. R_L is not computed if 0."""
    objective: Annotated[Objective, Added(before="cross-entropy")] = "cross-entropy"
    """The loss to minimize: cross-entropy, mse, next-token, or a custom function as `package.module:objective`."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1), Added(before=0.0)] = 0.0
    """ε of cross-entropy and next-token: targets are 1 − ε of the true class and ε of the uniform distribution."""
    metrics: Annotated[Axis[Metric] | None, Added(before=None)] = None
    """Metrics beside the loss, built-in ones or custom ones as `package.module:metric`. Default: accuracy for cross-entropy and
    next-token, none for other objectives."""
    evaluate: bool = False
    """Measure loss and metrics on the evaluation split after each epoch, outside the timed part."""
    evaluate_training: Annotated[bool, Added(before=False)] = False
    """Measure loss and metrics on the full training split too, in evaluation mode after each epoch, outside the timed part."""
    last_epochs: Annotated[Epochs | None, Added(before=None)] = None
    """Report the mean training loss of this many last epochs too. Default: none."""
    target_loss: Annotated[float | None, Added(before=None)] = None
    """Report the epochs, FLOPs and time until the evaluation loss, or without train.evaluate the training loss, is this low.
    Default: none."""
    batch_norm: Annotated[Literal["recalibrated", "running"], Added(before="running")] = "recalibrated"
    """Batch norm statistics in evaluation mode: recalibrated in a pass over the training split, or running averages."""
    nudge_ulps: Annotated[int, Field(ge=0, le=1024), Added(before=0)] = 0
    """Move the first weights of each run by this many units in the last place, to make a rounding twin."""


class NetworkSpec(StudySpec):
    """The common part of the specs of studies that train networks: axes, network, data and protocol."""

    sweep: TrainingAxes
    network: NetworkSettings = NetworkSettings()
    data: DataSettings = DataSettings()
    train: TrainSettings = TrainSettings()

    @property
    def networks(self) -> tuple[str, ...]:
        return self.sweep.networks

    @property
    def custom_networks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(is_factory, self.sweep.networks)))

    @property
    def custom_parts(self) -> tuple[str, ...]:
        train = self.train
        parts: list[tuple[Registry[Any], str]] = [
            *((NETWORKS, name) for name in self.networks),
            (DATASETS, self.data.dataset),
            (OBJECTIVES, train.objective),
            *((METRICS, name) for name in train.metrics or ()),
        ]
        return tuple(dict.fromkeys(registry.reference(name) for registry, name in parts if registry.is_custom(name)))

    def with_all_data(self) -> Self:
        spec = super().with_all_data()
        return spec.model_copy(update={"data": spec.data.model_copy(update={"limit": None})})

    def fixed_in_grid(self, key: str) -> str:
        table = key.partition(".")[0]
        if (table == "data" and key != "data.limit") or key in _MEASURED_ALIKE:
            return "must have one value in a sweep, since its profile describes the data and the results once"
        if table in ("match", "tune"):
            return "chooses settings for each depth; a grid cannot vary it"
        return super().fixed_in_grid(key)

    def settings(self) -> dict[str, Any]:
        """Return the spec without its name and the location of the data, whose content has a separate hash."""
        return self.model_dump(mode="json", exclude={"name": True, "data": {"root", "download"}})

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        network, data, train = self.network, self.data, self.train
        if network.connectivity == "window" and network.window is None:
            self._refuse("network.connectivity", "requires network.window, the number of states that a layer reads")
        if network.window is not None and network.connectivity != "window":
            self._refuse("network.window", 'has an effect only with network.connectivity = "window"')
        if network.options and not self.custom_networks:
            self._refuse(
                "network.options",
                "have an effect only on custom networks (package.module:factory), and this sweep has none",
            )
        if train.schedule == "step" and train.step_epochs is None:
            self._refuse("train.schedule", "requires train.step_epochs, the number of epochs between two steps")
        if train.schedule == "milestones" and train.milestones is None:
            self._refuse("train.schedule", "requires train.milestones, a list of numbers of epochs")
        for key, (other, *values) in _REQUIRES.items():
            is_default = getattr(train, key) == TrainSettings.model_fields[key].default
            if not is_default and getattr(train, other) not in values:
                allowed = " or ".join(f'"{value}"' for value in values)
                self._refuse(f"train.{key}", f"has an effect only with train.{other} = {allowed}")
        if train.nesterov and not train.momentum:
            self._refuse("train.nesterov", "requires train.momentum > 0")
        if data.crop_padding != DataSettings.model_fields["crop_padding"].default and "crop" not in data.augment:
            self._refuse("data.crop_padding", 'has an effect only with data.augment = ["crop"]')
        if unused := data.unused_key:
            self._refuse(f"data.{unused}", f"has an effect only with data.dataset = {datasets_with(unused)}")
        if data.dataset == "csv" and data.target is None:
            self._refuse("data.dataset", "requires data.target, the column to predict")
        self._blocks_fit_the_image()
        self._depth_scales()
        return self

    @model_validator(mode="after")
    def _outcome_fits(self) -> Self:
        train = self.train
        if train.label_smoothing and not objective_named(train.objective).smooths_labels:
            smooth = " or ".join(name for name, each in OBJECTIVES.built_in.items() if each.smooths_labels)
            self._refuse("train.label_smoothing", f"has an effect only with train.objective = {smooth}")
        if train.last_epochs is not None and train.last_epochs > train.epochs:
            self._refuse("train.last_epochs", f"a run has only {train.epochs} epochs, train.epochs")
        by_key = {"loss": "the loss"}
        for name in measured_metrics({"objective": train.objective, "metrics": train.metrics}):
            if (other := by_key.setdefault(key_of(name), name)) != name:
                self._refuse("train.metrics", f"{name} has the same name in results as {other}; rename the function")
        return self

    def _blocks_fit_the_image(self) -> None:
        known = self.data.known_input
        if known is None or not any(name in ARCHITECTURES for name in self.sweep.networks):
            return
        (_, height, width), blocks = known[0], self.network.blocks
        if blocks > (most := most_blocks(height, width)):
            reason = f"images of {height}×{width} pixels have room for at most {most} blocks, which halve them"
            self._refuse("network.blocks", reason)

    def _depth_scales(self) -> None:
        """Check the step and the rule for the learning rate, which only some networks have."""
        network, matched = self.network, self.train.depth_lr == "matched"
        families = {ARCHITECTURES[name].family: name for name in self.networks if name in ARCHITECTURES}
        if matched and (name := families.get("sequential")):
            self._refuse(
                "train.depth_lr", f"does not exist for {name}, whose layers are not added up; leave it out of the sweep"
            )
        if matched and (name := families.get("residual")) and network.step_scaling < LEAST_STEP_EXPONENT:
            self._refuse(
                "train.depth_lr",
                f"needs network.step_scaling of 0.5 or more for {name}: below, its gradients grow with depth at a rate that "
                "depends on the number of blocks",
            )
        if matched and "dense" in families and network.connectivity != "full":
            self._refuse("train.depth_lr", 'is known for dense networks only with network.connectivity = "full"')

    def _refuse(self, key: str, reason: str) -> None:
        section, _, name = key.partition(".")
        refuse(key, getattr(getattr(self, section), name), reason)


class TrainingSpec(NetworkSpec):
    """A training sweep."""

    study: Literal["training"] = "training"
    match: MatchSettings = MatchSettings()
    tune: TuneSettings = TuneSettings()

    def matched(self, point: Point) -> Match | None:
        return match_depth(self, point.network, point.depth)

    def at(self, point: Point) -> Self:
        return super().at(point).model_copy(update={"match": MatchSettings()})

    @property
    def epochs(self) -> int:
        return self.train.epochs

    def run_settings(self) -> dict[str, Any]:
        """Exclude the number of epochs unless the learning rate depends on it: longer runs then continue shorter ones.

        Keys whose results follow from the epochs are excluded too, and the tuned setting.
        """
        settings = {key: value for key, value in super().run_settings().items() if key != "tune"}
        excluded = _FROM_EPOCHS if self.train.schedule == "cosine" else _FROM_EPOCHS | {"epochs"}
        return {**settings, "train": {key: value for key, value in settings["train"].items() if key not in excluded}}

    @model_validator(mode="after")
    def _budgets_can_be_matched(self) -> Self:
        check_match(self, self.sweep.grid)
        return self

    @model_validator(mode="after")
    def _setting_can_be_tuned(self) -> Self:
        check_tune(self)
        return self
