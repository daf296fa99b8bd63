"""Losses in double precision, equal to independent transcriptions of the authors' code: HeatSmoothing and Lipschitz margins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from method_cases import case
from torch import Tensor, nn
from torch.nn import functional

from jobs.models import Normalize, build_model
from jobs.models.load import to_sample
from jobs.models.statistics import least_images
from jobs.training.train import Batches
from rsctl.catalog import known_datasets, known_methods
from rsctl.catalog.declare import DataShape
from rsctl.config.sweep import load_sweep
from rsctl.config.templates import all_templates
from rsctl.errors import InputError

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
COLOURS = (3, 4, 4)
CLASSES = 4


def colourful(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 7), nn.Tanh(), nn.Linear(7, CLASSES)).double()


def heat_case(**changes: Any) -> Any:
    """HeatSmoothing of two networks behind one normalisation, for images of three colours in double precision."""
    one = case("heat", **{"noisy_share": 0.5, "projections": 3, "difference": 0.01, "gamma": 2.0, "timesteps": 2, "softmax": True, **changes})  # fmt: skip
    torch.manual_seed(5)
    one.x = torch.rand(len(one.y), *COLOURS, dtype=torch.float64)
    one.state.batch = (len(one.y), *COLOURS)
    one.model = nn.Sequential(Normalize(MEAN, STD), colourful(1)).double()
    one.state.load = lambda _: nn.Sequential(Normalize(MEAN, STD), colourful(2)).double()
    list(one.module.prepare(one.model, one.state))
    return one


def heat_transcription(one: Any) -> Tensor:
    """As train_ours.py of either data set has it: z are what the network sees, and what is differentiated by."""
    p, network, target = one.p, one.model[1], colourful(2)
    mean, std = (value.double() for value in (one.model[0].mean, one.model[0].std))
    noise = one.state.noise().double()
    chosen = (one.state.uniform("noisy", 1)[:, 0] < p["noisy_share"]).double()[:, None, None, None]
    seen = one.x + chosen * noise
    # On ImageNet images are normalised by the loader, on CIFAR-10 never.
    shift, scale = (0.0, 1.0) if p["pixels"] == "normalised" else (mean, std)
    z = ((seen - mean) / std if p["pixels"] == "normalised" else seen).requires_grad_()

    def v(at: Tensor) -> Tensor:
        return network((at - shift) / scale)

    out = v(z)
    distance = (out.softmax(1) - target((one.x - mean) / std).softmax(1)).norm(dim=1) ** 2 / 2
    penalty = torch.zeros(len(z), dtype=torch.float64)
    for number in range(p["projections"]):
        w = one.state.normal(f"projection {number}", CLASSES).double() / CLASSES**0.5
        (gradient,) = torch.autograd.grad((out * w).sum(), z, retain_graph=True)
        length = gradient.flatten(1).norm(dim=1)[:, None, None, None]
        ahead = v((z + p["difference"] * gradient / length).detach())
        penalty = penalty + (((ahead - out) * w).sum(1) / p["difference"]) ** 2
    return (distance + p["gamma"] * 0.5 / p["timesteps"] * 0.25**2 * penalty).mean()


@pytest.mark.parametrize("pixels", ["unit", "normalised"])
@pytest.mark.parametrize("noisy_share", [0.0, 0.5])
def test_heat_smoothing_differentiates_in_the_pixels_asked_for(pixels: str, noisy_share: float) -> None:
    one = heat_case(pixels=pixels, noisy_share=noisy_share)
    value, _ = one.module.loss(one.model, one.x, one.y, one.state)
    mine = torch.autograd.grad(value, list(one.model.parameters()))
    expected = heat_transcription(one)
    theirs = torch.autograd.grad(expected, list(one.model.parameters()))
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    for one_gradient, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one_gradient, other, rtol=1e-8, atol=1e-11)


def test_in_unit_pixels_the_penalty_is_19_6_times_that_of_imagenets_normalised_ones() -> None:
    """For a linear network that looks at all colours alike: three over the sum of their variances."""
    found = {}
    for pixels in ("unit", "normalised"):
        one = heat_case(pixels=pixels)
        flat = nn.Linear(48, CLASSES, bias=False).double()
        with torch.no_grad():  # the same weight of every pixel in [0, 1]
            torch.manual_seed(3)
            grey = torch.randn(CLASSES, 1, 16, dtype=torch.float64).expand(-1, 3, -1)
            flat.weight.copy_((grey * one.model[0].std.view(1, 3, 1)).flatten(1))
        model = nn.Sequential(one.model[0], nn.Sequential(nn.Flatten(), flat))
        x = one.x.requires_grad_()
        found[pixels] = one.module.squared_jacobian(model, x, model(x), one.state).detach()
    ratio = found["unit"] / found["normalised"]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 3 / sum(s * s for s in STD)), rtol=1e-6, atol=0)
    assert float(ratio.mean()) == pytest.approx(19.58, abs=0.005)


def test_imagenets_default_is_where_the_authors_differentiate() -> None:
    heat = known_methods()["heat"]
    pixels = {name: heat.default_values(name, 0.25).get("pixels") for name in ("imagenet", "cifar10")}
    assert pixels == {"imagenet": "normalised", "cifar10": None}
    assert heat.parameters().model_dump()["pixels"] == "unit"


def campbell(classes: int = 10) -> nn.Sequential:
    torch.manual_seed(0)
    return build_model("heat-resnet34", {}, dataset=known_datasets()["cifar10"], shape=DataShape(3, 32, classes, {}))  # fmt: skip


def campbells_logits(network: nn.Module, x: Tensor) -> Tensor:
    """The authors' ResNet([5, 5, 5]) in eval mode from these weights, function by function."""
    entries = iter(network.state_dict().values())

    def normalised(y: Tensor) -> Tensor:
        mean, variance, _, bias = (next(entries) for _ in range(4))
        form = (1, -1, *(1 for _ in y.shape[2:]))
        return (y - mean.view(form)) / (variance.view(form) + 1e-5).sqrt() + bias.view(form)

    def conv(y: Tensor) -> Tensor:
        weight = next(entries)
        return normalised(functional.conv2d(y, weight, padding=weight.shape[-1] // 2))

    x = conv(x).clamp(min=0)
    for stage in range(3):
        if stage:
            x = functional.avg_pool2d(conv(x).clamp(min=0), 2)
        for _ in range(5):
            x = (x + conv(conv(x).clamp(min=0))).clamp(min=0)
    logits = normalised(x.mean(dim=(2, 3)) @ next(entries).T)
    assert next(entries, None) is None
    return logits


def test_heat_smoothings_network_is_the_authors() -> None:
    model = campbell()
    assert sum(p.numel() for p in model.parameters()) == 488_714
    for layer in model.modules():
        for name in ("running_mean", "running_var"):
            if hasattr(layer, name):
                getattr(layer, name).uniform_(0.5, 1.5)
    # Uniform within ±1/√n for sums of n numbers, the bias after them likewise.
    reach = [float(parameter.detach().abs().max()) for parameter in model[1].parameters()]
    summed = [
        layer.weight[0].numel() for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))
    ]
    assert reach[::2] == pytest.approx([n**-0.5 for n in summed], rel=0.05)
    assert all(0.7 * n**-0.5 < most <= n**-0.5 for n, most in zip(summed, reach[1::2], strict=True))
    model = model.double().eval()
    x = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(model(x), campbells_logits(model[1], model[0](x)), rtol=1e-10, atol=1e-12)


def test_heat_smoothings_network_is_sampled_and_verified_as_it_is() -> None:
    from jobs.verifiers.tracing import trace

    model = campbell().eval()
    for layer in model.modules():
        for name in ("running_mean", "running_var"):
            if hasattr(layer, name):
                getattr(layer, name).uniform_(0.5, 1.5)
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(trace(model, (3, 32, 32))(x), expected, rtol=1e-4, atol=1e-4)
        executed = to_sample(model, "fp32", "off", 4, DataShape(3, 32, 10, {}), torch.device("cpu"))
        torch.testing.assert_close(executed(x), expected, rtol=1e-4, atol=1e-4)


def test_a_network_that_normalises_its_logits_is_never_given_a_single_image() -> None:
    """One number has no variance: the authors leave out the last batch of an epoch, too."""
    model = campbell()
    assert (least_images(model), least_images(model[1].stage1)) == (2, 1)
    assert [Batches(41, 20, 0, 1, least).per_epoch for least in (1, 2)] == [3, 2]
    with pytest.raises(InputError, match=r"batch_size: 3 images.*2 processes.*at least 2 in each"):
        Batches(41, 3, 0, 2, 2)


def trained(template: str, tmp_path: Path) -> list[Any]:
    """The trainings of a template, parents first."""
    for split in ("train", "val"):
        folder = tmp_path / "imagenet" / split / "n00000001"
        folder.mkdir(parents=True)
        (folder / "a.JPEG").write_bytes(split.encode())
    file = tmp_path / f"{template}.toml"
    file.write_text(next(one.text for one in all_templates() if one.name == template))
    return [spec for point in load_sweep(file, tmp_path).points for spec in (*point.parents, point.train)]


@pytest.mark.parametrize("template", ["heat2020-imagenet", "heat2020-table4"])
def test_templates_for_imagenet_differentiate_where_the_authors_do(template: str, tmp_path: Path) -> None:
    *_, spec = trained(template, tmp_path)
    assert (spec.method, spec.hyperparameters["pixels"]) == ("heat", "normalised")


@pytest.mark.parametrize("template", ["heat2020-cifar10", "heat2020-cifar10-baseline", "heat2020-cifar10-others"])  # fmt: skip
def test_templates_for_cifar_take_the_authors_network_and_images_as_they_are(
    template: str, tmp_path: Path
) -> None:
    for spec in trained(template, tmp_path):
        assert spec.model == "heat-resnet34"
        # What starts from another's weights sees images as that one does.
        assert spec.start or spec.recipe.normalisation == "none"
        assert "pixels" not in spec.hyperparameters
