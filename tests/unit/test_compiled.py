"""The network through torch's compiler: the same logits, of one shape alone, and the same counts whatever happens."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
import torch
import torch._inductor.config
from chain import Chain, tiny

from jobs.certify import count
from jobs.models import build_model
from jobs.models.compiled import compiled, compiler_version
from jobs.models.load import Executed, to_sample
from rsctl.catalog import known_datasets
from rsctl.catalog.declare import DataShape
from rsctl.config.identity import identity
from rsctl.errors import RefusedError, UnavailableError
from rsctl.plan.cost import table_work
from rsctl.store.files import replace
from rsctl.store.tables import StoredTable, read_table
from rsctl.store.task_context import Stopped, TaskContext

CPU, SHAPE = torch.device("cpu"), DataShape(1, 8, 10, {})
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="no C++ compiler here"
)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    model = build_model("cnn", {"width": 4}, dataset=known_datasets()["digits"], shape=SHAPE)
    with torch.no_grad():
        model.train()(torch.rand(64, 1, 8, 8))
    return model.eval()


@needs_compiler
@pytest.mark.long
def test_compiled_code_computes_what_the_network_computes_and_nothing_of_another_shape(capsys: Any) -> None:
    quick = to_sample(network(), "fp32", "default", 100, SHAPE, CPU)
    assert "compiled in" in capsys.readouterr().err
    assert not quick.fused
    with torch.inference_mode():
        x = torch.rand(100, 1, 8, 8).to(memory_format=torch.channels_last)
        given = quick(x)
        torch.testing.assert_close(given, Executed(network(), "fp32")(x), rtol=1e-5, atol=1e-5)
        # A row does not depend on its neighbours.
        other = x.clone()
        other[10:] = 0
        assert torch.equal(quick(other)[:10], given[:10])
        with pytest.raises(RuntimeError, match="recompile"):
            quick(x[:50])
    said = quick.described(CPU, 100, 50)
    assert said["compiled"] == "default"
    assert said["compiler"] == compiler_version(CPU)
    assert Executed(network(), "fp32").described(CPU, 100, 50)["compiler"] == ""


def test_graphs_need_a_gpu_and_the_compiler_a_compiler() -> None:
    x = torch.zeros(100, 1, 8, 8)
    with pytest.raises(RefusedError, match="no GPU"):
        compiled(Executed(network(), "fp32"), "graphs", x)
    with (
        torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(UnavailableError, match=r"no-such-compiler.*It needs a C"),
    ):
        compiled(Executed(network(), "fp32"), "default", x)


def test_a_network_that_decides_by_its_values_is_refused() -> None:
    def deciding(x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x

    if any(map(shutil.which, ("g++", "clang++", "c++"))):
        with pytest.raises(RefusedError, match="in one piece"):
            compiled(deciding, "default", torch.zeros(10, 1, 8, 8))


def test_it_is_part_of_what_is_counted_and_has_a_speed_of_its_own(chain: Chain) -> None:
    for mode in ("off", "default", "graphs"):
        chain.plan(tiny(name=mode, certification={"compile": mode}))
    (model,) = chain.store.runs("models")
    specs = [run.count_spec for run in chain.store.runs("counts")]
    assert len({spec.hash for spec in specs}) == 3
    assert "compile" not in identity(next(spec for spec in specs if spec.compile == "off"))
    works = [table_work(model.train_spec, spec) for spec in specs]
    assert len({key for ((key, _),) in works}) == 3
    assert {draws for ((_, draws),) in works} == {250}


@needs_compiler
@pytest.mark.long
def test_counts_are_equal_for_other_shards_and_stops(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stops(TaskContext):
        looks = 0

        def stopping(self) -> str:
            self.looks += 1
            return "told to" if self.looks == 3 else ""

    def counted(
        store: str, mode: str, kind: type[TaskContext] = TaskContext, **certification: Any
    ) -> StoredTable:
        monkeypatch.setenv("RSCTL_STORE", str(chain.folder / store))
        values = tiny(certification={"compile": mode, "max_images": 6, **certification})
        first, *others = chain.plan(values).requests
        if model:
            replace(first.task.run.model_file, model[0])
        else:
            chain.run(first.task)
            model.append(first.task.run.model_file.read_bytes())
        for request in others:
            while True:
                try:
                    count.main(chain.work(request.task, kind))
                except Stopped:
                    continue
                break
        return read_table(chain.counts_run())

    model: list[bytes] = []
    whole = counted("whole", "default", shards=1)
    assert {function["compiled"] for function in whole.functions} == {"default"}
    for other in (
        counted("shards", "default", shards=3),
        counted("stops", "default", Stops, shards=1),
    ):
        for column in ("index", "selection_counts", "counts"):
            assert np.array_equal(getattr(whole.rows, column), getattr(other.rows, column)), column
    plain = counted("plain", "off", shards=1)
    assert np.abs(plain.rows.counts - whole.rows.counts).max() <= 2
