"""The architectures; their code is in `jobs/models/`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from rsctl.catalog.declare import Model, Parameters

HE = "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016"


class CnnParameters(Parameters):
    """A small convolutional network."""

    width: Annotated[int, Field(ge=1)] = 32
    """Channels of the first convolution; the later ones have twice as many."""


class ResNetParameters(Parameters):
    """A CIFAR ResNet."""

    shortcut: Literal["projection", "padding"] = Field(
        "projection", json_schema_extra={"neutral": "projection"}
    )
    """Shortcut where the shape changes: a 1x1 `projection` (option B of the paper, as in smoothed classifiers), or `padding`
    with zero channels (option A, as in the paper's own CIFAR networks)."""


class WideResNetParameters(Parameters):
    """A wide residual network."""

    depth: Literal[10, 16, 22, 28, 34, 40] = 40
    """Number of layers: six for each block of a stage, plus four."""
    widen: Annotated[int, Field(ge=1)] = 2
    """Width as a multiple of a ResNet's."""


class ConvolutionsParameters(Parameters):
    """A plain convolutional network."""

    convolutions: Annotated[
        list[Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=4, max_length=4)]],
        Field(min_length=1),
    ] = [[16, 4, 2, 1], [32, 4, 2, 1]]
    """Channels, kernel, stride and padding of each convolution. A ReLU follows each."""
    widths: list[Annotated[int, Field(ge=2)]] = [100]
    """Units of each hidden linear layer."""

    @field_validator("convolutions")
    @classmethod
    def _sizes(cls, convolutions: list[list[int]]) -> list[list[int]]:
        if any(min(one[:3]) < 1 for one in convolutions):
            raise ValueError("channels, kernel and stride of a convolution are at least 1")
        return convolutions


class LenetParameters(Parameters):
    """LeNet."""

    widths: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=3, max_length=3)] = Field(
        [20, 50, 500], json_schema_extra={"neutral": [20, 50, 500]}
    )
    """Channels of the two convolutions, and units of the hidden layer."""


Widths = Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)]


class MlpParameters(Parameters):
    """A network of linear layers."""

    widths: Widths = [256, 256]
    """Units of each hidden layer."""


class LipschitzParameters(Parameters):
    """A 1-Lipschitz network of orthogonal layers."""

    widths: Annotated[list[Annotated[int, Field(ge=2, multiple_of=2)]], Field(min_length=1)] = [256, 256]
    """Units of each hidden layer: even numbers, since MaxMin takes pairs."""


class DistanceParameters(Parameters):
    """An ℓ∞-distance network."""

    widths: Widths = [128, 128]
    """Units of each hidden layer."""
    initial: Literal["normal", "identity"] = Field("normal", json_schema_extra={"neutral": "normal"})
    """First weights: `normal`, or the `identity` where a layer has as many units as inputs or more (−10 at one input each,
    as the authors' code begins)."""


GOWAL = (
    "Gowal et al.: Scalable Verified Training for Provably Robust Image Classification, ICCV 2019, table 1"
)
NORMALISED = 0.1
"""Rate of networks with batch normalisation."""

MODELS: tuple[Model, ...] = (
    Model(
        "cnn",
        "Small CNN: three convolutions and a linear layer, no batch normalisation",
        "this project",
        CnnParameters,
    ),
    *(
        Model(
            f"resnet{depth}",
            f"CIFAR ResNet-{depth}",
            f"{HE}, section 4.2",
            ResNetParameters,
            smallest=8,
            rate=NORMALISED,
            implementation="jobs.models.architectures.resnet",
        )
        for depth in (20, 32, 44, 56, 110)
    ),
    *(
        Model(
            f"resnet{depth}",
            f"ResNet-{depth} with a 3x3 stem, for 32x32 images",
            HE,
            smallest=8,
            rate=NORMALISED,
            implementation="jobs.models.architectures.resnet",
        )
        for depth in (18, 34)
    ),
    Model(
        "heat-resnet34",
        "ResNet-34 of HeatSmoothing's code: three stages of 16 to 64 channels, identities as shortcuts",
        "Campbell, Finlay, Oberman: Adversarial Boot Camp: label free certified robustness in one epoch, 2020, authors' code: "
        "cifar10/train_utils/cvmodels",
        smallest=4,
    ),
    Model(
        "wideresnet",
        "Wide ResNet-40-2, or of another depth and width",
        "Zagoruyko, Komodakis: Wide Residual Networks, BMVC 2016",
        WideResNetParameters,
        smallest=8,
        rate=NORMALISED,
    ),
    Model("resnet50", "ResNet-50 (torchvision), for 224x224 images", HE, smallest=32, rate=NORMALISED),
    Model(
        "lenet",
        "LeNet with two convolutions and max-pooling, for 28x28 images",
        "LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998; "
        "as Jeong, Shin 2020, authors' code: archs/lenet.py",
        LenetParameters,
        smallest=16,
    ),
    Model(
        "convolutions",
        "Convolutions with ReLUs, then linear layers, as networks to verify are published",
        "Wong, Schmidt, Metzen, Kolter: Scaling provable adversarial defenses, NeurIPS 2018, and others",
        ConvolutionsParameters,
    ),
    Model("mlp", "Linear layers with ReLUs", "this project", MlpParameters),
    *(
        Model(
            f"ibp-{name}",
            f"The {name} convolutional network of certified training",
            GOWAL,
            smallest=smallest,
            implementation="jobs.models.architectures.ibp",
        )
        for name, smallest in (("small", 10), ("medium", 16), ("large", 4))
    ),
    Model(
        "lipschitz-mlp",
        "Orthogonal layers with MaxMin: 1-Lipschitz in ℓ2",
        "Anil, Lucas, Grosse: Sorting out Lipschitz function approximation, ICML 2019",
        LipschitzParameters,
    ),
    Model(
        "linf-distance",
        "ℓ∞-distance network: 1-Lipschitz in ℓ∞",
        "Zhang, Cai, Lu, He, Wang: Towards Certifying ℓ∞ Robustness using Neural Networks with ℓ∞-dist Neurons, ICML 2021",
        DistanceParameters,
    ),
)
