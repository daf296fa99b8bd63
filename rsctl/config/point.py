"""A sweep file with the values of one grid point, and checks of their combination. A field's docstring is its help everywhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from rsctl.catalog.declare import Parameters
from rsctl.config.names import SafeName
from rsctl.config.sections import Certification, Precision, Resources


class Point(Parameters):
    """A sweep file with the values of one grid point: one model and its tables."""

    name: SafeName = Field(examples=["my-sweep"])
    """Name of the sweep, and of its folder in the store."""
    description: Annotated[str, Field(max_length=100_000)] = Field(
        "", examples=["Gaussian training on 8x8 digits"]
    )
    """Purpose of the sweep; shown beside its table."""
    cluster: str = "local"
    """Profile of rsctl.toml that runs the sweep; `submit --cluster` overrides it."""
    dataset: dict[str, Any] = Field(examples=["digits"])
    """Data set to train and certify on: its name, or a table of `name` and its own parameters."""
    model: dict[str, Any] = Field(examples=["cnn"])
    """Architecture of the network: its name, or a table of `name` and its own parameters."""
    method: dict[str, Any] = Field(examples=["gaussian"])
    """Method of training: its name, or a table of `name`, its own hyper-parameters and optionally `model`, `training`, `grid`,
    `start` and `teacher` tables. Several [[method]] tables compare methods."""
    sigma: Annotated[float, Field(ge=0, le=100)] = Field(examples=[0.25])
    """Standard deviation of the noise per coordinate, for images in [0, 1]; 0 trains on clean images."""
    noise: Literal["gaussian", "uniform", "laplace", "splitting"] = "gaussian"
    """Distribution of the noise per coordinate, in training and certification, with standard deviation sigma: uniform on
    ±√3·sigma, or Laplace of scale sigma/√2; these have their own certificates, for ℓ1 (and ℓ∞). `splitting` adds no noise: each
    pixel is replaced by the middle of its interval of length 2√3·sigma. All positions of the intervals are counted, which
    determines n, and ℓ1 radii are deterministic (Levine, Feizi 2021)."""
    exponent: Annotated[int, Field(ge=0)] = Field(0, examples=[10])
    """Exponent k of generalised Gaussian noise, density ∝ ‖ε‖^(-2k) exp(-‖ε‖²/2s²) with the same sigma per
    coordinate, in training and certification (1530 for 32x32 images in DSRS); 0 is Gaussian noise."""
    seed: Annotated[int, Field(ge=0)] = Field(0, examples=[1])
    """Seed of the weights, the image order and the training noise."""
    training: dict[str, Any] = Field({}, examples=[{"epochs": 90}])
    """Recipe values that override the method's own."""
    certification: Certification = Certification()
    """Draws, images and certificates."""
    verification: list[dict[str, Any]] = Field([], examples=[[{"verifier": "crown"}]])
    """Verifiers to run on the model, one table each."""
    attack: list[dict[str, Any]] = Field([], examples=[[{"attack": "ddn"}]])
    """Attacks to run on the model, one table each."""
    precision: Precision = Precision()
    """Arithmetic of training and certification, explicit because a certificate is for the function as executed."""
    resources: Resources = Resources()
    """Resources of a task of each stage: threads, GPUs, processes, memory, time."""

    @field_validator("verification", "attack", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value

    @property
    def noise_level(self) -> float:
        """Sigma of the smoothed classifier; 0 where there is none."""
        return self.certification.sigma or self.sigma

    @model_validator(mode="after")
    def _consistent(self) -> Point:
        settings, others = self.certification, self.verification or self.attack
        fixed, gaussian = settings.stopping == "fixed", self.noise == "gaussian" and not self.exponent
        for wrong, text in (
            (
                settings.transfer and (self.precision.certification == "fp32" or not fixed),
                "certification.transfer needs counts of a fixed n in bf16 or tf32: "
                "set precision.certification = 'bf16' (or 'tf32') and certification.stopping = 'fixed', or leave it out",
            ),
            (
                settings.gradient and not (gaussian and fixed),
                "certification.gradient needs Gaussian noise and a fixed n, as 'second-order' does: "
                "set noise = 'gaussian', exponent = 0 and certification.stopping = 'fixed', or leave it out",
            ),
            (
                self.noise == "splitting"
                and (not fixed or settings.transfer or settings.selection == "clean"),
                "noise = 'splitting' counts every position of its intervals once: leave out certification.stopping, .selection and "
                ".transfer",
            ),
            (
                settings.arithmetic == "exact" and (not gaussian or settings.shells or settings.gradient),
                "certification.arithmetic = 'exact' supports Gaussian noise only, without shells and gradient sums: "
                "set noise = 'gaussian' and exponent = 0 and leave out certification.shells and .gradient, or set 'float'",
            ),
            (
                self.noise != "gaussian" and (self.exponent or settings.shells),
                f"noise = '{self.noise}' has no exponent and no shells: leave them out, or set noise = 'gaussian'",
            ),
            (
                not settings.certificates and not others,
                "certification.certificates: give at least one, or add [[verification]] or [[attack]]",
            ),
            (
                not self.noise_level and not others,
                "sigma = 0 trains without noise: set certification.sigma, or add [[verification]] or [[attack]]",
            ),
        ):
            if wrong:
                raise ValueError(text)
        return self
