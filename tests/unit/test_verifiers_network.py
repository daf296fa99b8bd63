"""A model as operations: the same function as the model, and every layer that has no bound named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from jobs.models import Normalize, build_model
from jobs.models.load import Executed
from jobs.verifiers import crown, ibp
from jobs.verifiers.tracing import trace
from rsctl.catalog import known_datasets, known_models, known_verifiers
from rsctl.catalog.declare import DataShape
from rsctl.errors import InputError

SHAPE = DataShape(1, 8, 10, {})


def digits_model(name: str, **parameters: object) -> nn.Sequential:
    torch.manual_seed(0)
    model = build_model(name, parameters, dataset=known_datasets()["digits"], shape=SHAPE)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.3)
            layer.running_var.uniform_(0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.3)
    return model.eval()


@pytest.mark.parametrize("name", ["cnn", "resnet20", "mlp", "ibp-large", "lipschitz-mlp", "linf-distance"])  # fmt: skip
def test_the_operations_are_the_model_folded_or_not(name: str) -> None:
    model, images = digits_model(name), torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        expected = model(images)
        scale = float(expected.abs().max())
        for either in (model, Executed(model, "fp32")):
            network = trace(either, (1, 8, 8))
            for each in (network, network.to(torch.float64)):
                torch.testing.assert_close(
                    each(images).float(), expected, atol=1e-6 * max(1.0, scale), rtol=0
                )


def test_folded_batch_normalisation_leaves_no_scale_but_the_images_own() -> None:
    kinds = [type(op).__name__ for op in trace(Executed(digits_model("resnet20"), "fp32"), (1, 8, 8)).ops]
    assert kinds.count("Scale") == 1
    assert kinds.count("Relu") == 19
    assert kinds.count("Add") == 9


UNBOUNDED = {"resnet50": r"pool.*MaxPool2d", "lenet": r"pool.*MaxPool2d"}
"""Models with a layer that no verifier bounds, and how it is named."""


LIKE_OTHERS = {"resnet18", "resnet32", "resnet44", "resnet56"}
CONTAIN_OTHERS = {"denoised", "hf", "python", "timm", "torchvision"}
"""Models whose name alone is no network."""


@pytest.mark.parametrize("name", sorted({*known_models()} - LIKE_OTHERS - CONTAIN_OTHERS))
def test_every_model_of_the_catalog_is_bounded_or_says_what_hinders(name: str) -> None:
    size = max(8, known_models()[name].smallest)
    dataset = known_datasets()["svhn" if name == "resnet50" else "digits"]
    channels = 3 if name == "resnet50" else 1
    model = build_model(name, {}, dataset=dataset, shape=DataShape(channels, size, 10, {})).eval()
    if name in UNBOUNDED:
        with pytest.raises(InputError, match=UNBOUNDED[name] + ".*Supported: convolution"):
            trace(model, (channels, size, size))
        return
    network = trace(model, (channels, size, size))
    images, y = torch.rand(1, channels, size, size), torch.zeros(1, dtype=torch.int64)
    bounds = ibp.propagate(network, ibp.box(images, 0.01))
    assert not any((low > high).any() for low, high in bounds)
    # In deep untrained networks intervals overflow: then nothing is proved.
    assert ibp.Margins(network)(ibp.box(images, 0.01), y).shape == (1, 10)


class Odd(nn.Module):
    """A network with one step in the middle."""

    def __init__(self, middle: nn.Module | None = None) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, padding=1)
        self.middle = middle
        self.last = nn.Linear(2 * 64, 3)

    def step(self, x: Tensor) -> Tensor:
        return x if self.middle is None else self.middle(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.step(self.first(x)).flatten(1))


class Squared(Odd):
    def step(self, x: Tensor) -> Tensor:
        return x * x


class Shifted(Odd):
    def step(self, x: Tensor) -> Tensor:
        return x + 1


class Dependent(Odd):
    def step(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("network", "named"),
    [
        (Odd(nn.Sigmoid()), ["'1.middle'", "Sigmoid", "Supported: convolution"]),
        (Odd(nn.MaxPool2d(1)), ["'1.middle'", "MaxPool2d"]),
        (Odd(nn.GroupNorm(1, 2)), ["'1.middle'", "GroupNorm"]),
        (Odd(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")), ["'1.middle'", "circular"]),
        (Odd(nn.AvgPool2d(1, ceil_mode=True)), ["'1.middle'", "ceil_mode"]),
        (Odd(nn.AdaptiveAvgPool2d(3)), ["'1.middle'", "doesn't divide"]),
        (Odd(nn.BatchNorm2d(2, track_running_stats=False)), ["'1.middle'", "track_running_stats"]),
        (Squared(), ["mul", "Supported"]),
        (Shifted(), ["add", "one or two layers"]),
        (Dependent(), ["depends on its input's values"]),
    ],
)
def test_what_has_no_bound_is_named_with_what_is_supported(network: nn.Module, named: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        trace(nn.Sequential(Normalize([0.3], [0.4]), network).eval(), (1, 8, 8))
    for words in named:
        assert words in str(refused.value)


def test_a_model_in_training_mode_is_refused() -> None:
    with pytest.raises(InputError, match="eval mode"):
        trace(digits_model("resnet20").train(), (1, 8, 8))


def test_linear_bounds_refuse_layers_that_only_intervals_and_constants_know() -> None:
    parameters = known_verifiers()["crown"].parameters()
    for name, words in (("linf-distance", "ℓ∞-distance"), ("lipschitz-mlp", "MaxMin")):
        with pytest.raises(InputError, match=words):
            crown.prepare(
                digits_model(name), parameters, shape=SHAPE, norm="linf", radii=[], precision="fp32"
            )


@pytest.mark.parametrize("verifier", ["ibp", "crown", "lipschitz"])
def test_other_arithmetic_than_float32_is_refused(verifier: str) -> None:
    import importlib

    declared = known_verifiers()[verifier]
    with pytest.raises(InputError, match=r"precision\.certification.*fp32"):
        importlib.import_module(declared.module).prepare(
            digits_model("cnn"), declared.parameters(), shape=SHAPE, norm="linf", radii=[], precision="bf16"
        )


def test_the_declarations_and_the_proofs_match() -> None:
    import pkgutil

    import rsctl.catalog.verifiers

    names = {entry.name for entry in pkgutil.iter_modules(rsctl.catalog.verifiers.__path__)}
    folder = Path(ibp.__file__).parent
    assert names <= {file.stem for file in folder.glob("*.py")}
    for declared in known_verifiers().values():
        assert declared.rounding
        assert declared.norms
        assert all(field.description for field in declared.parameters.model_fields.values())
