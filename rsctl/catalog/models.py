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
VERIFIABLE = "jobs.models.verifiable"
NORMALISED = 0.1
"""Rate of networks with batch normalisation."""

MODELS: tuple[Model, ...] = (
    Model(
        "cnn",
        "Small CNN: three convolutions and a linear layer, no batch normalisation",
        "this project",
        CnnParameters,
        about="Three 3x3 convolutions with ReLUs, of which the last two halve the resolution, and a linear layer. It has no "
        "batch normalisation and trains on small grey images in seconds.",
        use_when="For first tries on a CPU, on images such as the digits.",
    ),
    *(
        Model(
            f"resnet{depth}",
            f"CIFAR ResNet-{depth}",
            f"{HE}, section 4.2",
            ResNetParameters,
            smallest=8,
            rate=NORMALISED,
            about=f"The residual network of {depth} layers for 32x32 images: three stages of 16, 32 and 64 channels with shortcuts "
            "around every two convolutions. It is narrow, with batch normalisation.",
            use_when=use,
            example={"dataset": "cifar10"},
        )
        for depth, use in (
            (20, "For CIFAR-10 on a CPU or in little time."),
            (32, "Between ResNet-20 and ResNet-110, for CIFAR-sized images."),
            (44, "Between ResNet-20 and ResNet-110, for CIFAR-sized images."),
            (56, "Between ResNet-20 and ResNet-110, for CIFAR-sized images."),
            (110, "To compare with published tables on CIFAR-10: nearly all of them have this network."),
        )
    ),
    *(
        Model(
            f"resnet{depth}",
            f"ResNet-{depth} with a 3x3 stem, for 32x32 images",
            HE,
            smallest=8,
            rate=NORMALISED,
            about=f"ImageNet's ResNet-{depth} with a 3x3 convolution in place of its 7x7 one and without the pooling after it, so that "
            "small images keep their resolution. Its four stages have 64 to 512 channels.",
            use_when="For CIFAR-sized images where a wider network than the CIFAR ResNets is wanted.",
            example={"dataset": "cifar10"},
        )
        for depth in (18, 34)
    ),
    Model(
        "heat-resnet34",
        "ResNet-34 of HeatSmoothing's code: three stages of 16 to 64 channels, identities as shortcuts",
        "Campbell, Finlay, Oberman: Adversarial Boot Camp: label free certified robustness in one epoch, 2020, authors' code: "
        "cifar10/train_utils/cvmodels",
        smallest=4,
        implementation="jobs.models.heat_resnet",
        about="The network that HeatSmoothing's authors train on CIFAR-10: five blocks in each of three stages of 16, 32 and 64 "
        "channels. Every shortcut is the identity, and it isn't the network of He et al. of that name.",
        use_when="To reproduce HeatSmoothing on CIFAR-10.",
        example={"dataset": "cifar10"},
    ),
    Model(
        "wideresnet",
        "Wide ResNet-40-2, or of another depth and width",
        "Zagoruyko, Komodakis: Wide Residual Networks, BMVC 2016",
        WideResNetParameters,
        smallest=8,
        rate=NORMALISED,
        implementation="jobs.models.wide_resnet",
        about="A residual network of three stages whose channels are `widen` times 16, 32 and 64, with normalisation and ReLU before "
        "each convolution. Layers and width are yours to choose.",
        use_when="For ℓ1 certificates on CIFAR-10, whose published tables (Yang 2020) have Wide ResNet-40-2.",
        example={"dataset": "cifar10"},
    ),
    Model(
        "resnet50",
        "ResNet-50 (torchvision), for 224x224 images",
        HE,
        smallest=32,
        rate=NORMALISED,
        about="torchvision's residual network of 50 layers in bottleneck blocks, with a 7x7 stem. It takes colour images.",
        use_when="For ImageNet: published tables of smoothing have this network.",
        example={"dataset": "imagenet"},
    ),
    Model(
        "lenet",
        "LeNet with two convolutions and max-pooling, for 28x28 images",
        "LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998; "
        "as Jeong, Shin 2020, authors' code: archs/lenet.py",
        LenetParameters,
        smallest=16,
        about="Two convolutions, each followed by max-pooling, and two linear layers. Small enough for a CPU.",
        use_when="To compare with published tables on MNIST and Fashion-MNIST.",
    ),
    Model(
        "convolutions",
        "Convolutions with ReLUs, then linear layers, as networks to verify are published",
        "Wong, Schmidt, Metzen, Kolter: Scaling provable adversarial defenses, NeurIPS 2018, and others",
        ConvolutionsParameters,
        about="A plain network whose convolutions you list, each with a ReLU, followed by linear layers. It has affine layers and "
        "ReLUs only, which is what complete verifiers take.",
        use_when="For a network of a verification paper, or one sized for `branch-and-bound` and `milp`.",
    ),
    Model(
        "mlp",
        "Linear layers with ReLUs",
        "this project",
        MlpParameters,
        implementation=VERIFIABLE,
        about="Linear layers with a ReLU between each two. With a few hundred units it is the easiest network to prove anything about.",
        use_when="For complete verification on small images.",
    ),
    *(
        Model(
            f"ibp-{name}",
            f"The {name} convolutional network of certified training",
            GOWAL,
            smallest=smallest,
            implementation=VERIFIABLE,
            about=f"The {name} network of interval bound propagation's paper: {layers}. It has affine layers and ReLUs only, "
            "no normalisation.",
            use_when="With the methods `ibp` and `crown-ibp`, to compare with certified training as published.",
        )
        for name, smallest, layers in (
            ("small", 10, "two convolutions of 16 and 32 channels and a hidden layer of 100 units"),
            ("medium", 16, "four convolutions of 32 and 64 channels and two hidden layers of 512 units"),
            ("large", 4, "five convolutions of 64 and 128 channels and a hidden layer of 512 units"),
        )
    ),
    Model(
        "lipschitz-mlp",
        "Orthogonal layers with MaxMin: 1-Lipschitz in ℓ2",
        "Anil, Lucas, Grosse: Sorting out Lipschitz function approximation, ICML 2019",
        LipschitzParameters,
        implementation=VERIFIABLE,
        about="Linear layers whose matrices are kept orthogonal, with the activation MaxMin, which sorts pairs. Each "
        "hidden layer changes its output by no more than its input changes in ℓ2, whatever the weights are.",
        use_when="For deterministic ℓ2 radii at the price of one pass: with `lipschitz-margin` and the verifier `lipschitz`.",
        example={"method": "lipschitz-margin"},
    ),
    Model(
        "linf-distance",
        "ℓ∞-distance network: 1-Lipschitz in ℓ∞",
        "Zhang, Cai, Lu, He, Wang: Towards Certifying ℓ∞ Robustness using Neural Networks with ℓ∞-dist Neurons, ICML 2021",
        DistanceParameters,
        implementation=VERIFIABLE,
        about="Each unit is the ℓ∞ distance of its input from a stored prototype plus a bias, in place of a product with weights. "
        "Such a unit changes by no more than its input does in ℓ∞, and so does the whole network.",
        use_when='For deterministic ℓ∞ radii at the price of one pass: with `lipschitz-margin` (norm = "linf") and the verifier `lipschitz`.',
        example={"method.name": "lipschitz-margin", "method.norm": "linf"},
    ),
)
