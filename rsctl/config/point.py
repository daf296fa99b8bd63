"""A sweep file with every grid value put in, and what of it doesn't go together. A docstring under a field is its help everywhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from rsctl.catalog.declare import Parameters
from rsctl.config.names import SafeName
from rsctl.config.sections import Certification, Precision, Resources


class Point(Parameters):
    """A sweep file with every grid value put in: one model and what is to be found out about it."""

    name: SafeName
    """Name of the sweep, and of its folder in the store."""
    description: Annotated[str, Field(max_length=100_000)] = ""
    """What it is for; shown beside its table."""
    cluster: str = "local"
    """Profile of rsctl.toml that runs it; `submit --cluster` overrides."""
    dataset: dict[str, Any]
    """`name` and the data set's own parameters."""
    model: dict[str, Any]
    """`name` and the architecture's own parameters."""
    method: dict[str, Any]
    """`name`, the method's own hyper-parameters, and optionally a `training` table of its own."""
    sigma: Annotated[float, Field(ge=0, le=100)]
    """Standard deviation of the noise per coordinate, for images in [0, 1]; 0 trains on clean images."""
    noise: Literal["gaussian", "uniform", "laplace", "splitting"] = "gaussian"
    """Law of the noise's coordinates, in training and certification, each with standard deviation sigma: uniform on
    ±√3·sigma, or Laplace of scale sigma/√2. They have certificates of their own, for ℓ1 (and ℓ∞). `splitting` adds no noise: f
    sees the middle of an interval of length 2√3·sigma that each pixel lies in. All positions of the intervals are counted, n
    follows from them, and ℓ1 radii are deterministic (Levine, Feizi 2021)."""
    exponent: Annotated[int, Field(ge=0)] = 0
    """Exponent k of generalised Gaussian noise, density ∝ ‖ε‖^(-2k) exp(-‖ε‖²/2s²) with the same sigma per
    coordinate, in training and certification (1530 for 32x32 images in DSRS); 0 is Gaussian noise."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the weights, of the order of images and of the training noise."""
    training: dict[str, Any] = {}
    """Recipe values that override the method's own."""
    certification: Certification = Certification()
    verification: list[dict[str, Any]] = []
    """Verifiers to run on the model, one table each."""
    attack: list[dict[str, Any]] = []
    """Attacks to run on it, one table each."""
    precision: Precision = Precision()
    resources: Resources = Resources()

    @field_validator("verification", "attack", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _to_transfer(self) -> Point:
        settings = self.certification
        if settings.transfer and (self.precision.certification == "fp32" or settings.stopping != "fixed"):
            raise ValueError(
                "certification.transfer carries counts of a fixed n in bf16 or tf32 over to fp32: "
                "set precision.certification = 'bf16' (or 'tf32') and certification.stopping = 'fixed', or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _to_sum_up(self) -> Point:
        if self.certification.gradient and (
            self.noise != "gaussian" or self.exponent or self.certification.stopping != "fixed"
        ):
            raise ValueError(
                "certification.gradient is for Gaussian noise and a fixed n, for which alone 'second-order' is proved: "
                "set noise = 'gaussian', exponent = 0 and certification.stopping = 'fixed', or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _every_position(self) -> Point:
        settings = self.certification
        if self.noise == "splitting" and (
            settings.stopping != "fixed" or settings.transfer or settings.selection == "clean"
        ):
            raise ValueError(
                "noise = 'splitting' counts every position of its intervals once: leave certification.stopping, .selection and "
                ".transfer out"
            )
        return self

    @model_validator(mode="after")
    def _exact_law(self) -> Point:
        settings = self.certification
        if settings.arithmetic == "exact" and (
            self.noise != "gaussian" or self.exponent or settings.shells or settings.gradient
        ):
            raise ValueError(
                "certification.arithmetic = 'exact' rounds Gaussian noise to whole pixel values, of which neither shells nor sums are "
                "known: set noise = 'gaussian' and exponent = 0, leave certification.shells and .gradient out, or take 'float'"
            )
        return self

    @property
    def noise_level(self) -> float:
        """Sigma of the smoothed classifier; 0 where there is none."""
        return self.certification.sigma or self.sigma

    @model_validator(mode="after")
    def _noise_to_certify_with(self) -> Point:
        if self.noise != "gaussian" and (self.exponent or self.certification.shells):
            raise ValueError(
                f"noise = '{self.noise}' has no exponent and no shells: both are for Gaussian noise and its generalisation"
            )
        if not self.certification.certificates and not self.verification and not self.attack:
            raise ValueError(
                "certification.certificates: give at least one, or add [[verification]] or [[attack]]"
            )
        if not self.noise_level and not self.verification and not self.attack:
            raise ValueError(
                "sigma = 0 trains without noise: say under certification.sigma what to certify with, or add [[verification]] or [[attack]]"
            )
        return self
