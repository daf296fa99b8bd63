"""Fused convolutions compute what the network computes, and overwrite nothing that is still needed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.models import build_model
from jobs.models.fused import FusedConv, available, fused
from jobs.models.load import Executed
from rsctl.catalog import known_datasets
from rsctl.catalog.declare import DataShape

pytestmark = pytest.mark.skipif(not available(torch.float32), reason="this build of torch has no oneDNN")


def network(name: str) -> nn.Module:
    """With batch statistics of its own."""
    torch.manual_seed(0)
    model = build_model(name, {}, dataset=known_datasets()["cifar10"], shape=DataShape(3, 32, 10, {}))
    with torch.no_grad():
        model.train()(torch.rand(16, 3, 32, 32))
    return model.eval()


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.03)])
def test_a_residual_network_gives_the_same_logits(precision: str, tolerance: float) -> None:
    if precision == "bf16" and not available(torch.bfloat16):
        pytest.skip("this processor has no bf16 units")
    x = torch.rand(20, 3, 32, 32)
    plain = Executed(network("resnet20"), precision)
    quick = Executed(network("resnet20"), precision, example=x[:1])
    assert quick.fused
    assert not plain.fused
    with torch.inference_mode():
        expected, given = plain(x), quick(x)
        assert (given - expected).abs().max() <= tolerance * expected.abs().max()
        # A row does not depend on its neighbours: the same tile shape, other rows around it.
        assert torch.equal(quick(torch.cat([x[:10], torch.zeros(10, 3, 32, 32)]))[:10], given[:10])
    convolutions = [module for module in quick.modules() if isinstance(module, FusedConv)]
    assert len(convolutions) == 21
    assert sum(module.overwrite for module in convolutions) == 9  # one per block
    assert sum(module.relu for module in convolutions) == 19  # all but the shortcuts


class Awkward(nn.Module):
    """Shortcuts that are read again later, in several ways; sums that broadcast; a ReLU whose input is read too."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d, self.e = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(5))
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        first = functional.relu(self.a(x))
        view = first.flatten(2)
        second = functional.relu(self.b(first) + first)
        third = self.c(second)
        fourth = functional.relu(third) + third
        late = self.d(second)
        fifth = functional.relu(self.e(fourth) + second)
        broadcast = fifth + self.a(self.pool(fifth))
        return broadcast.flatten(2).mean(2) + view.mean(2) + functional.relu(late).flatten(2).mean(2)


class Late(nn.Module):
    """The shortcut is also the input of a convolution whose ReLU comes after the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = functional.relu(self.a(x))
        beside = self.b(shortcut)
        total = functional.relu(self.c(shortcut) + shortcut)
        return functional.relu(beside) + total


class LateSum(nn.Module):
    """Two sums with one shortcut: the first may not overwrite what the second still reads."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = functional.relu(self.a(x))
        one, two = self.b(x), self.c(x)
        second = functional.relu(two + shortcut)
        return second + functional.relu(one + shortcut)


class AlsoReturned(nn.Module):
    """The shortcut is part of the result, and so is the image."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        first = self.a(x)
        second = torch.add(self.b(first), first)
        return torch.cat([first, functional.relu(self.b(x) + x), second, x])


@pytest.mark.parametrize("kind", [Awkward, Late, LateSum, AlsoReturned])
def test_what_is_read_again_is_not_overwritten(kind: type[nn.Module]) -> None:
    torch.manual_seed(1)
    model = kind().eval().to(memory_format=torch.channels_last)
    x = torch.randn(6, 4, 8, 8).to(memory_format=torch.channels_last)
    quick = fused(model, x[:1])
    assert quick is not None
    with torch.inference_mode():
        before = x.clone()
        torch.testing.assert_close(quick(x), model(x), rtol=1e-5, atol=1e-5)
        assert torch.equal(x, before)


def test_without_convolutions_or_a_graph_there_is_nothing_to_fuse() -> None:
    class Data(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    x = torch.zeros(1, 4, 8, 8)
    assert fused(Data(), x) is None
    assert fused(nn.Sequential(nn.Flatten(), nn.Linear(256, 10)), x) is None
