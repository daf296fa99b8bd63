"""The training recipe: everything about optimisation that isn't the method's own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rsctl.catalog.declare import Parameters

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Recipe(Parameters):
    """`[training]` of a sweep file. Defaults are Cohen 2019's, overlaid by the method's own for this data set and σ, or by one
    that is fitted to network and images where nobody published one (`rsctl.catalog.fitted`)."""

    epochs: Annotated[int, Field(ge=1)] = 90
    """Passes over the training images."""
    batch_size: Annotated[int, Field(ge=1)] = 400
    """Images per optimiser step, over all processes together."""
    optimizer: Literal["sgd", "adam", "adamw-lp"] = "sgd"
    """`sgd` (with momentum), `adam`, or `adamw-lp`: with decoupled weight decay, and for ℓ∞-distance layers in their own ℓp, as
    in the code of Zhang et al. 2021."""
    lr: Positive = 0.1
    """Learning rate: the initial one (`step`, `cosine`, `constant`), or the peak (`onecycle`)."""
    momentum: Share = 0.9
    """Momentum of SGD; the first beta of Adam."""
    nesterov: bool = False
    """Nesterov momentum (SGD only)."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """L2 penalty on all weights; for `adamw-lp`, the share of the learning rate by which they decay."""
    schedule: Literal["step", "cosine", "onecycle", "constant"] = "step"
    """Learning-rate schedule, applied at every optimiser step."""
    step_epochs: Annotated[int, Field(ge=1)] = 30
    """`step`: epochs between two reductions."""
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    """`step`: factor of each reduction."""
    milestones: list[Annotated[float, Field(gt=0)]] = Field(
        [], json_schema_extra={"neutral": []}, examples=[[30.0, 60.0]]
    )
    """`step`: epochs of the reductions, if they aren't `step_epochs` apart."""
    step_shift: Annotated[int, Field(ge=-1)] = Field(0, json_schema_extra={"neutral": 0}, examples=[1])
    """`step`: epochs by which a code's reductions come later than `step_epochs` or `milestones` state: 1 if
    it calls scheduler.step(epoch) after the epoch (Jeong 2020, 2021, 2023), -1 if it steps first and counts from 1 (MACER, HeatSmoothing)."""
    cycle_epochs: Annotated[int, Field(ge=0)] = Field(0, json_schema_extra={"neutral": 0}, examples=[30])
    """Epochs after which the schedule restarts; 0: never."""
    warmup_epochs: Annotated[float, Field(ge=0)] = Field(0.0, examples=[5.0])
    """Epochs of linear growth from 0 at the start; for `onecycle`, the epochs until the peak."""
    hold_epochs: Annotated[float, Field(ge=0)] = Field(
        0.0, json_schema_extra={"neutral": 0.0}, examples=[10.0]
    )
    """`cosine`, `onecycle`: epochs at the full rate, after the warm-up, before it falls."""
    label_smoothing: Share = Field(0.0, examples=[0.1])
    """Share of the target spread over all classes."""
    noise_steps: Literal["one", "smaller"] = Field("one", json_schema_extra={"neutral": "one"})
    """Methods with m noises per image: `one` optimiser step per batch with all of them, or m `smaller` steps of
    `batch_size` / m images with m noises each, as in the code of Salman 2019 and Jeong 2020."""
    gradient_clip: Annotated[float, Field(ge=0)] = Field(0.0, examples=[5.0])
    """Largest L2 norm of the gradient; 0 means no clipping."""
    exponent_warmup: Annotated[int, Field(ge=0)] = Field(0, json_schema_extra={"neutral": 0}, examples=[20])
    """Epochs over which the exponent k of generalised Gaussian noise grows to its value, ⌈k − k^(1 − e/exponent_warmup)⌉
    in epoch e = 0, 1, ..., as DSRS trains (100 of 150 epochs); 0: k from the start."""
    normalisation: Literal["dataset", "none"] = Field("dataset", json_schema_extra={"neutral": "dataset"})
    """First layer of the network: subtracts the data set's mean and divides by its standard deviation, or `none`. Weights
    taken from another model (`start`) keep the normalisation they were trained with."""
    augment: bool = True
    """Apply the data set's standard augmentation (crops and mirrors)."""
    mirror: bool = Field(True, json_schema_extra={"neutral": True})
    """With `augment`: mirror half of the images. Set false if left and right distinguish classes."""
    crop_padding: Annotated[int, Field(ge=0)] = Field(4, json_schema_extra={"neutral": 4})
    """With `augment`: padding in pixels before a random crop, where crops keep the image size."""

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError("nesterov needs optimizer = 'sgd' and momentum > 0")
        if self.warmup_epochs > self.epochs:
            raise ValueError(
                f"warmup_epochs = {self.warmup_epochs:g} (the recipe's default, unless the file sets it) is longer than "
                f"epochs = {self.epochs}. Set it too, such as warmup_epochs = {0.2 * self.epochs:g}"
            )
        if self.exponent_warmup > self.epochs:
            raise ValueError(
                f"exponent_warmup = {self.exponent_warmup} is longer than epochs = {self.epochs}: the exponent wouldn't reach its value"
            )
        if self.hold_epochs and self.schedule not in ("cosine", "onecycle"):
            raise ValueError(
                f"hold_epochs needs schedule = 'cosine' or 'onecycle', but it is '{self.schedule}'"
            )
        length, whole = (self.cycle_epochs, "cycle_epochs") if self.cycle_epochs else (self.epochs, "epochs")
        if self.hold_epochs and self.warmup_epochs + self.hold_epochs > length:
            raise ValueError(
                f"warmup_epochs + hold_epochs = {self.warmup_epochs + self.hold_epochs:g} is more than {whole} = {length}: "
                "the learning rate would never fall"
            )
        if self.step_shift > self.epochs:
            raise ValueError(
                f"step_shift = {self.step_shift} is more than epochs = {self.epochs}: the learning rate would never fall. "
                "Code that steps its schedule after the epoch needs 1"
            )
        if sorted(self.milestones) != self.milestones:
            raise ValueError("milestones must ascend")
        return self
