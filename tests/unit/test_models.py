"""The base classifiers: what published checkpoints and the smoothing pipeline rely on."""

from __future__ import annotations

import pkgutil
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import jobs.models.architectures
import rsctl.catalog.models
from jobs.data import load
from jobs.models import Normalize, build_model
from rsctl.catalog import known_datasets, known_models, use_plugins
from rsctl.catalog.declare import DataShape
from rsctl.errors import InputError


def model_for(
    name: str, dataset: str = "cifar10", size: int | None = None, **parameters: int | str
) -> nn.Sequential:
    declaration = known_datasets()[dataset]
    shape = DataShape(declaration.channels, size or declaration.size or 32, declaration.classes or 10, {})
    return build_model(name, parameters, dataset=declaration, shape=shape)


def published_resnet_keys(blocks: int) -> set[str]:
    """The state dict of a published CIFAR ResNet with `blocks` blocks per stage, written out."""
    statistics = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    keys = {"conv1.weight", "fc.weight", "fc.bias", *(f"bn1.{entry}" for entry in statistics)}
    for stage in (1, 2, 3):
        for block in range(blocks):
            for layer in (1, 2):
                keys.add(f"layer{stage}.{block}.conv{layer}.weight")
                keys |= {f"layer{stage}.{block}.bn{layer}.{entry}" for entry in statistics}
        if stage > 1:
            keys.add(f"layer{stage}.0.downsample.0.weight")
            keys |= {f"layer{stage}.0.downsample.1.{entry}" for entry in statistics}
    return keys


def test_every_declaration_has_its_architecture_and_every_architecture_its_declaration() -> None:
    names = {m.name for m in pkgutil.iter_modules(rsctl.catalog.models.__path__)}
    assert names == {m.name for m in pkgutil.iter_modules(jobs.models.architectures.__path__)}
    assert {one.module for one in known_models().values()} == {
        f"jobs.models.architectures.{name}" for name in names
    }


def test_resnet110_has_the_published_parameters_and_names() -> None:
    model = model_for("resnet110")
    assert sum(p.numel() for p in model.parameters()) == 1_730_714
    keys = published_resnet_keys(blocks=18)
    assert len(keys) == 668
    # Published checkpoints are Sequential(normalisation without entries, network).
    assert set(model.state_dict()) == {f"1.{key}" for key in keys}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet20", 272_474),
        ("resnet32", 466_906),
        ("resnet44", 661_338),
        ("resnet56", 855_770),
        ("wideresnet", 2_243_546),
        ("resnet18", 11_173_962),
        ("resnet34", 21_282_122),
    ],
)
def test_parameter_counts(name: str, parameters: int) -> None:
    assert sum(p.numel() for p in model_for(name).parameters()) == parameters


def test_pooling_equals_the_published_8x8_average() -> None:
    network = model_for("resnet20")[1].eval()
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        maps = images
        for name, layer in network.named_children():
            if name == "pool":
                break
            maps = layer(maps)
        assert maps.shape == (4, 64, 8, 8)
        published = network.fc(functional.avg_pool2d(maps, 8).flatten(1))
        torch.testing.assert_close(network(images), published)


def test_residual_block_adds_its_shortcut_before_the_last_relu() -> None:
    block = model_for("resnet20")[1].layer2[0].eval()
    with torch.no_grad():
        block.bn2.weight.zero_()  # silences the two convolutions
        images = torch.randn(2, 16, 8, 8)
        torch.testing.assert_close(block(images), functional.relu(block.downsample(images)))


def test_a_padding_shortcut_keeps_every_second_pixel_between_zero_channels() -> None:
    """Option A of the paper, as pytorch_resnet_cifar10 has it: a quarter of the new channels before, a quarter after."""
    block = model_for("resnet20", shortcut="padding")[1].layer2[0].eval()
    with torch.no_grad():
        block.bn2.weight.zero_()  # silences the two convolutions
        images = torch.rand(2, 16, 8, 8)
        expected = torch.zeros(2, 32, 4, 4)
        expected[:, 8:24] = images[:, :, ::2, ::2]
        assert torch.equal(block(images), expected)


@pytest.mark.parametrize(
    ("name", "dataset", "size"),
    [
        ("resnet20", "digits", 8),
        ("resnet20", "mnist", 28),
        ("resnet18", "svhn", 32),
        ("cnn", "digits", 8),
        ("cnn", "mnist", 28),
        ("cnn", "cifar100", 32),
        ("resnet50", "imagenet", 64),
    ],
)
def test_images_of_every_size_become_logits(name: str, dataset: str, size: int) -> None:
    declaration = known_datasets()[dataset]
    model = model_for(name, dataset, size).eval()
    with torch.no_grad():
        logits = model(torch.rand(2, declaration.channels, size, size))
    assert logits.shape == (2, declaration.classes)
    assert torch.isfinite(logits).all()


def test_normalisation_is_the_first_layer_and_follows_the_model() -> None:
    model = model_for("resnet20")
    grey = torch.full((1, 3, 2, 2), 0.5)
    expected = [
        (0.5 - mean) / std
        for mean, std in zip((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), strict=True)
    ]
    torch.testing.assert_close(model[0](grey)[0, :, 0, 0], torch.tensor(expected))
    assert model[0].state_dict() == {}
    assert model.to("meta")[0].mean.device.type == "meta"


def test_first_weights_are_those_of_full_precision_wherever_a_network_is_built() -> None:
    """HeatSmoothing, SODM and CAT-RS build one in the middle of a training in bfloat16."""
    found = []
    for lowered in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=lowered):
            found.append(model_for("lipschitz-mlp", "digits", widths=[6, 6]))  # type: ignore[arg-type]
    with torch.no_grad():
        x = torch.rand(3, 1, 8, 8)
        torch.testing.assert_close(found[0](x), found[1](x), rtol=0, atol=0)


def test_a_data_set_without_statistics_is_left_as_it_is() -> None:
    plain = replace(known_datasets()["digits"], mean=(), std=())
    model = build_model("cnn", {}, dataset=plain, shape=DataShape(1, 8, 10, {}))
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(model[0](images), images)
    assert isinstance(model[0], Normalize)


def test_cnn_width_sets_the_channels_and_there_is_no_batch_normalisation() -> None:
    model = model_for("cnn", "digits", width=6)
    assert [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)] == [6, 12, 12]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def test_cnn_learns_noisy_digits_in_a_few_epochs() -> None:
    train, test = (load("digits", {}, split, Path()) for split in ("train", "test"))
    torch.manual_seed(0)
    model = model_for("cnn", "digits", width=16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(12):
        for rows in torch.randperm(len(train)).split(64):
            pixels, labels = train.batch(rows)
            images = pixels / 255 + 0.25 * torch.randn(pixels.shape)
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    pixels, labels = test.batch(torch.arange(len(test)))
    with torch.no_grad():
        found = model(pixels / 255 + 0.25 * torch.randn(pixels.shape)).argmax(1)
    assert (found == labels).float().mean() > 0.85


@pytest.mark.parametrize(
    ("name", "dataset", "size", "parameters", "said"),
    [
        ("resnet50", "mnist", 64, {}, "3 channels"),
        ("resnet50", "cifar10", 16, {}, "at least 32x32"),
        ("resnet20", "digits", 4, {}, "at least 8x8"),
        ("cnn", "digits", 8, {"widht": 4}, "Did you mean 'width'"),
        ("cnn", "digits", 8, {"width": 0}, "model.width"),
        ("resnet20", "digits", 8, {"width": 8}, "width"),
        ("resnet111", "digits", 8, {}, "Did you mean 'resnet110'"),
    ],
)
def test_what_cannot_be_built_is_explained(
    name: str, dataset: str, size: int, parameters: dict[str, int], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        model_for(name, dataset, size, **parameters)


def test_statistics_of_another_number_of_channels_are_refused() -> None:
    cifar = known_datasets()["cifar10"]
    with pytest.raises(InputError, match="3 means and 3 standard deviations for 1 channels"):
        build_model("cnn", {}, dataset=cifar, shape=DataShape(1, 32, 10, {}))


def test_a_plugin_brings_its_own_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "smoothing_models.py").write_text(
        textwrap.dedent("""
            from rsctl.catalog.declare import Model, Parameters

            class Options(Parameters):
                bias: bool = True

            MODELS = [Model("linear", "A linear classifier", "", Options, implementation="smoothing_linear")]
        """)
    )
    (tmp_path / "smoothing_linear.py").write_text(
        textwrap.dedent("""
            from torch import nn

            def build(name, classes, channels, size, bias):
                return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, classes, bias=bias))
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    use_plugins(["smoothing_models"])
    try:
        model = build_model(
            "linear", {"bias": False}, dataset=known_datasets()["digits"], shape=DataShape(1, 8, 10, {})
        )
    finally:
        use_plugins([])
    assert list(model.state_dict()) == ["1.1.weight"]
    assert model(torch.rand(3, 1, 8, 8)).shape == (3, 10)
