"""A classifier behind a denoiser."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rsctl.catalog.declare import Model, Parameters

DEPTH, MEMORIES, RESIDUALS = 17, 3, 6


class DenoisedParameters(Parameters):
    """A classifier behind a denoiser."""

    denoiser: Literal["dncnn", "memnet"] = "dncnn"
    """`dncnn` is a chain of convolutions that predicts the noise, which is subtracted (Zhang 2017); `memnet` has blocks that see
    the results of all blocks before them (Tai 2017), as in the code of Salman 2020."""
    width: Annotated[int, Field(ge=1)] = 64
    """Channels inside the denoiser."""
    depth: Annotated[int, Field(ge=2)] = Field(DEPTH, json_schema_extra={"neutral": DEPTH})
    """`dncnn`: its convolutions."""
    memories: Annotated[int, Field(ge=1)] = Field(MEMORIES, json_schema_extra={"neutral": MEMORIES})
    """`memnet`: its memory blocks, 3 in the code of Salman 2020 and 6 in Tai 2017."""
    residuals: Annotated[int, Field(ge=1)] = Field(RESIDUALS, json_schema_extra={"neutral": RESIDUALS})
    """`memnet`: residual blocks of each memory block."""
    classifier: str = ""
    """The classifier's architecture, a JSON table of its name and parameters. `method.teacher` determines it; only a checkpoint of
    such a network needs it."""

    @model_validator(mode="after")
    def _of_this_denoiser(self) -> DenoisedParameters:
        of_the_other = (
            {"memories": self.memories != MEMORIES, "residuals": self.residuals != RESIDUALS}
            if self.denoiser == "dncnn"
            else {"depth": self.depth != DEPTH}
        )
        if names := [name for name, changed in of_the_other.items() if changed]:
            raise ValueError(
                f"denoiser = '{self.denoiser}' has no {' and no '.join(names)}: leave {'it' if len(names) == 1 else 'them'} out"
            )
        return self


MODELS = (
    Model(
        "denoised",
        "A classifier behind a denoiser",
        "Salman, Sun, Yang, Kapoor, Kolter: Denoised Smoothing: A Provable Defense for Pretrained Classifiers, NeurIPS 2020",
        DenoisedParameters,
        rate=0.1,
        shorthand="denoiser",
        pixels=True,
        about="A denoiser and, behind it, a classifier that stays as it is: one network, which is sampled and certified as a whole. "
        "The method `denoise` trains the denoiser; its `teacher` is the classifier.",
        use_when="To certify a classifier that was trained without noise, such as a library's pretrained one.",
        example={
            "method.name": "denoise",
            "method.teacher": {"name": "gaussian", "sigma": 0.0, "model": "cnn"},
        },
    ),
)
