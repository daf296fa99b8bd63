"""Denoised smoothing: the network of a denoiser and a frozen classifier, its training, its place in a sweep file."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chain import Chain, tiny
from method_cases import CLASSES, IMAGES, Net, case
from torch import Tensor, nn
from torch.nn import functional

from jobs.checkpoints.fitting import fitting
from jobs.checkpoints.formats import read_weights
from jobs.checkpoints.recognise import assemble
from jobs.models import Normalize, build_model
from jobs.models.architectures.denoised import Denoised
from jobs.models.denoisers import DnCNN, MemNet
from jobs.models.load import Executed, load_trained
from rsctl.catalog import find, known_datasets
from rsctl.catalog.declare import DataShape
from rsctl.catalog.recipe import Recipe
from rsctl.config.validate import Invalid
from rsctl.errors import InputError
from rsctl.results.notes import _resize
from rsctl.results.sweep import sweep_results
from rsctl.store.layout import Run
from rsctl.store.tables import read_table

SMALL = {"name": "denoised", "depth": 3, "width": 4}
CLEAN = {"name": "gaussian", "sigma": 0.0}
SHORT = {"epochs": 1, "batch_size": 160, "warmup_epochs": 0.0}


def denoise(**changes: Any) -> dict[str, Any]:
    return {"name": "denoise", "model": SMALL, "teacher": CLEAN, "training": SHORT, **changes}


def models_of(chain: Chain, **changes: Any) -> list[Run]:
    """The models of a sweep, trained in this process, parents first."""
    requests = [r for r in chain.plan(tiny(**changes)).requests if r.task.run.kind == "models"]
    for request in requests:
        chain.run(request.task)
    return [request.task.run for request in requests]


def state_dict(run: Run) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(run.model_file, weights_only=True)["state_dict"]
    return found


def network(**parameters: Any) -> nn.Sequential:
    torch.manual_seed(0)
    digits = find("data set", "digits", known_datasets())
    table = json.dumps({"name": "resnet20"})
    return build_model("denoised", {"width": 4, "classifier": table, **parameters}, dataset=digits, shape=DataShape(1, 8, 10, {}))  # fmt: skip


def test_the_published_denoisers_have_the_parameters_of_the_authors_networks() -> None:
    """Networks of Salman et al. 2020 for CIFAR-10: cifar_dncnn and memnet."""

    def of(denoiser: nn.Module) -> int:
        return sum(weight.numel() for weight in denoiser.parameters())

    # 3·64 filters of 9 and a bias, 15 layers of 64·64 filters with two numbers per channel, 64·3 filters.
    assert of(DnCNN(3, 17, 64)) == 3 * 64 * 9 + 64 + 15 * (64 * 64 * 9 + 2 * 64) + 64 * 3 * 9
    activated = 64 * 64 * 9 + 2 * 64
    gates = sum((6 + number) * 64 * (64 + 2) for number in (1, 2, 3))
    ends = 3 * 64 * 9 + 2 * 3 + 64 * 3 * 9 + 2 * 64
    assert of(MemNet(3, 3, 6, 64)) == 3 * 6 * 2 * activated + gates + ends


def test_memnet_is_the_authors_network_under_its_names() -> None:
    """Written out from its weights; a block sees what its units and all blocks before it made, the extracted features first."""
    torch.manual_seed(2)
    denoiser = MemNet(1, 2, 2, 3).double().eval()
    for layer in denoiser.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.3)  # type: ignore[union-attr,operator]
            layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr,operator]
            nn.init.normal_(layer.bias)
    weights = denoiser.state_dict()

    def activated(name: str, x: Tensor) -> Tensor:
        mean, variance, scale, shift = (
            weights[f"{name}.bn.{key}"][:, None, None]
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        positive = ((x - mean) / (variance + 1e-5).sqrt() * scale + shift).clamp(min=0)
        kernel = weights[f"{name}.conv.weight"]
        return functional.conv2d(positive, kernel, padding=kernel.shape[-1] // 2)

    image = torch.rand(2, 1, 6, 6, dtype=torch.float64)
    memory = [activated("feature_extractor", image)]
    for block in ("dense_memory.0", "dense_memory.1"):
        x, short = memory[-1], []
        for unit in (f"{block}.recursive_unit.0", f"{block}.recursive_unit.1"):
            x = x + activated(f"{unit}.relu_conv2", activated(f"{unit}.relu_conv1", x))
            short.append(x)
        memory.append(activated(f"{block}.gate_unit", torch.cat(short + memory, dim=1)))
    expected = image + activated("reconstructor", memory[-1])
    with torch.no_grad():
        assert float((expected - image).abs().max()) > 0.01
        assert torch.allclose(denoiser(image), expected, atol=1e-12)


def test_a_resize_of_the_classifier_is_noted() -> None:
    assert [_resize(one) for one in ({"resize": 64}, {"classifier": '{"name":"timm","resize":224}'}, {"width": 8})] == [64, 224, 0]  # fmt: skip


@pytest.mark.parametrize(
    "parameters", [{"depth": 3}, {"denoiser": "memnet", "memories": 1, "residuals": 1}], ids=str
)
def test_it_is_executed_as_one_network_and_its_classifier_stays_in_eval_mode(
    parameters: dict[str, Any],
) -> None:
    model, images = network(**parameters), torch.rand(4, 1, 8, 8)
    model.train()
    assert model[1].denoiser.training
    assert not any(layer.training for layer in model[1].classifier.modules())
    model(images).sum().backward()
    assert not any(weight.requires_grad for weight in model[1].classifier.parameters())
    model.eval()
    executed = Executed(model, "fp32", example=images)
    with torch.no_grad():
        assert torch.allclose(executed(images), model(images), atol=1e-5)
    assert executed.folded
    # Images reach the denoiser as they are.
    assert model[0].values() == ([0.0], [1.0])


def test_an_identity_as_denoiser_gives_the_counts_of_the_classifier_alone(chain: Chain) -> None:
    """One sweep with both: a method's own model leaves those of the others alone, and the classifier is trained once."""
    values = tiny(
        method=[{"name": "gaussian", "grid": {"sigma": [0.0], "certification.sigma": [0.5]}}, denoise()],
        training=SHORT,
    )
    committed = chain.plan(values)
    for request in committed.requests:
        run = request.task.run
        chain.run(request.task)
        if run.kind == "models" and run.train_spec.model == "denoised":
            stored = torch.load(run.model_file, weights_only=True)
            last = stored["state_dict"]["1.denoiser.dncnn.5.weight"]
            assert last.any()
            last.zero_()  # the noise that it subtracts
            torch.save(stored, run.model_file)
    assert len([*chain.store.runs("models")]) == 2
    rows = {row.training.network: row for row in sweep_results(chain.store, "tiny").rows}
    of_model = {run.count_spec.model_run: read_table(run).rows for run in chain.store.runs("counts")}
    alone, behind = (of_model[rows[name].training.run_id] for name in ("cnn", "denoised:dncnn"))
    assert len(alone.counts) == 20
    assert len(np.unique(alone.counts.argmax(axis=1))) > 1
    for name in ("index", "label", "selection_counts", "counts", "n"):
        assert np.array_equal(getattr(alone, name), getattr(behind, name)), name


def double_case(objective: str, **changes: Any) -> Any:
    """One step in float64, with a denoiser of three layers that changes images."""
    one = case("denoise", objective=objective, **changes)
    torch.manual_seed(5)
    denoiser = DnCNN(1, 3, 4)
    nn.init.normal_(denoiser.dncnn[-1].weight, std=0.1)
    network = Denoised(denoiser, Net(), 1).double()
    network.normalise.mean.fill_(0.3)
    network.normalise.std.fill_(0.7)
    one.model = nn.Sequential(Normalize([0.0], [1.0]), network).train()
    one.x, noise = one.x.double(), one.state.noise().double()
    one.state.noise = lambda: noise
    return one


def literal(one: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Denoised images, the classifier's logits for them, and those for the clean images, from the weights alone."""
    weights = dict(one.model[1].state_dict())
    noisy = one.x + one.state.noise()
    first = functional.conv2d(noisy, weights["denoiser.dncnn.0.weight"], weights["denoiser.dncnn.0.bias"], padding=1)  # fmt: skip
    second = functional.conv2d(first.clamp(min=0), weights["denoiser.dncnn.2.weight"], padding=1)
    mean = second.mean(dim=(0, 2, 3), keepdim=True)
    variance = (second - mean).square().mean(dim=(0, 2, 3), keepdim=True)
    scaled = (second - mean) / (variance + 1e-4).sqrt()
    images = noisy - functional.conv2d(scaled.clamp(min=0), weights["denoiser.dncnn.5.weight"], padding=1)

    def classifier(x: Tensor) -> Tensor:
        x = ((x - 0.3) / 0.7).flatten(1) - 0.5
        hidden = torch.tanh(3 * (x @ weights["classifier.first.weight"].T + weights["classifier.first.bias"]))
        return 6 * (hidden @ weights["classifier.second.weight"].T + weights["classifier.second.bias"])

    return images, classifier(images), classifier(one.x)


@pytest.mark.parametrize("objective", ["mse", "stability"])
def test_the_objectives_are_those_of_the_authors_code(objective: str) -> None:
    one = double_case(objective)
    images, noisy, clean = literal(one)
    if objective == "mse":
        pixels = [float((images - one.x)[i].square().sum()) for i in range(IMAGES)]
        expected = sum(pixels) / (16 * IMAGES)
    else:
        classes = [max(range(CLASSES), key=lambda c: float(clean[i, c])) for i in range(IMAGES)]
        # Or the labels would do as well.
        assert classes != one.y.tolist()
        shares = [noisy[i].exp() / noisy[i].exp().sum() for i in range(IMAGES)]
        expected = sum(-float(share[c].log()) for share, c in zip(shares, classes, strict=True)) / IMAGES
    value, logits = one.module.loss(one.model, one.x, one.y, one.state)
    assert float(value.detach()) == pytest.approx(expected, abs=1e-9)
    assert torch.allclose(logits, noisy, atol=1e-9)
    value.backward()
    assert all(weight.grad is not None for weight in one.model[1].denoiser.parameters())
    assert all(weight.grad is None for weight in one.model[1].classifier.parameters())


def test_two_halves_of_a_batch_add_up_to_the_whole() -> None:
    for objective in ("mse", "stability"):
        one = double_case(objective)
        one.model.eval()  # else its batch normalisation is of other images
        whole = float(one.module.loss(one.model, one.x, one.y, one.state)[0].detach())
        x, y, whole_noise, parts = one.x, one.y, one.state.noise(), 0.0
        for part in (slice(0, 5), slice(5, IMAGES)):
            one.state.noise = partial(whole_noise.__getitem__, part)
            share = one.state.share(y[part])
            parts += share * float(one.module.loss(one.model, x[part], y[part], one.state)[0].detach())
        assert parts == pytest.approx(whole, abs=1e-9)


def test_only_the_denoiser_is_trained_and_the_classifier_is_the_teacher(chain: Chain) -> None:
    """A teacher with batch normalisation, whose statistics a forward pass in training mode would change."""
    method = denoise(objective="stability", start="denoise", teacher={**CLEAN, "model": "resnet20", "training": SHORT})  # fmt: skip
    teacher, start, run = models_of(chain, method=method)
    theirs, mine, before = state_dict(teacher), state_dict(run), state_dict(start)
    behind = {key: value for key, value in mine.items() if key.startswith("1.classifier.")}
    assert len(behind) == len(theirs) > 100
    assert all(torch.equal(value, theirs[key.replace("classifier.", "")]) for key, value in behind.items())
    assert not torch.equal(mine["1.denoiser.dncnn.5.weight"], before["1.denoiser.dncnn.5.weight"])
    digits = find("data set", "digits", known_datasets())
    assert mine["1.normalise.mean"].flatten().tolist() == pytest.approx(digits.mean)
    model, _ = load_trained(run.model_file, run.spec.hash, DataShape(1, 8, 10, {}))
    assert torch.equal(model[1].normalise.std, mine["1.normalise.std"])
    assert run.train_spec.needs == [start.id, teacher.id]


def test_the_teachers_normalisation_is_taken_over_and_its_noise_is_its_own(chain: Chain) -> None:
    raw = {**CLEAN, "training": {**SHORT, "normalisation": "none"}}
    teacher, run = models_of(chain, method=denoise(teacher=raw))
    assert (teacher.train_spec.sigma, run.train_spec.sigma) == (0.0, 0.5)
    assert state_dict(run)["1.normalise.std"].tolist() == [[[1.0]]]


def test_frozen_weights_have_no_optimiser_state() -> None:
    from jobs.training.optimizers import make_optimizer

    model = network(depth=3)
    for name in ("adam", "sgd"):
        optimizer = make_optimizer(Recipe(optimizer=name), model)
        held = {weight for group in optimizer.param_groups for weight in group["params"]}
        assert held == {*model[1].denoiser.parameters()}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "denoised"}, "only 'denoise' trains 'denoised'"),
        ({"method": {"name": "denoise", "teacher": CLEAN}}, "'denoise' trains 'denoised' only"),
        ({"method": {"name": "denoise", "model": SMALL}}, "method.teacher: is required: the classifier"),
        ({"model": {"name": "denoised"}, "method": {"name": "denoise", "teacher": CLEAN}}, "method.teacher.model: must be a classifier's architecture"),
        ({"method": denoise(model=3)}, "model.name: is required: one of"),
        ({"method": denoise(teacher={**CLEAN, "model": 3})}, "method.teacher.model.name: is required: one of"),
        ({"method": denoise(model={**SMALL, "classifier": '{"name":"mlp"}'})}, "determined by method.teacher"),
        ({"method": denoise(start="gaussian")}, "method.start.model.name: only 'denoise' trains 'denoised'"),
        ({"method": denoise(start={"name": "denoise", "teacher": {**CLEAN, "model": "mlp"}})}, "method.start.model: must be the run's model"),
        ({"method": denoise(start={"name": "denoise", "model": {**SMALL, "width": 5}})}, "method.start.model: must be the run's model"),
        ({"method": denoise(objective="classification")}, "method.objective: input should be 'mse' or 'stability'"),
        ({"method": denoise(model={**SMALL, "memories": 2})}, "denoiser = 'dncnn' has no memories: leave it out"),
        ({"method": denoise(model={"name": "denoised:memnet", "depth": 3})}, "denoiser = 'memnet' has no depth"),
        ({"method": denoise(model={"name": "denoised", "denoiser": "drunet"})}, "model.denoiser: input should be 'dncnn' or 'memnet'"),
    ],
)  # fmt: skip
def test_bad_input_is_named(chain: Chain, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid) as caught:
        chain.plan(tiny(**{"model": {"name": "cnn"}} | changes))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "must be a JSON table with the name"),
        ("{", "isn't JSON"),
        ("[1]", "must be a JSON table"),
        ('{"name": "resnet21"}', "resnet21"),
        ('{"name": "cnn", "wdth": 3}', "model.classifier: .*wdth"),
    ],
)
def test_a_classifier_that_cant_be_built_is_named(table: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        network(classifier=table)


@pytest.mark.parametrize(
    "parameters",
    [{"depth": 5, "width": 6}, {"denoiser": "memnet", "width": 3, "memories": 2, "residuals": 1}],
    ids=["dncnn", "memnet"],
)
def test_a_file_with_a_denoiser_is_read_whole(parameters: dict[str, Any], tmp_path: Path) -> None:
    """Its classifier alone would fit an architecture, too."""
    model, digits = network(**parameters), find("data set", "digits", known_datasets())
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.01)
        expected = model.eval()(images := torch.rand(2, 1, 8, 8))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "net.pth")
    fit = fitting(read_weights(tmp_path / "net.pth"), digits, DataShape(1, 8, 10, {}))
    assert (fit.model, fit.weights.left, fit.weights.normalisation) == ("denoised", [], "none")
    assert json.loads(fit.parameters["classifier"]) == {"name": "resnet20"}
    built = assemble(fit.weights, fit.model, fit.parameters, "none", digits, DataShape(1, 8, 10, {}))
    with torch.no_grad():
        assert torch.equal(built(images), expected)
