"""A recorder in a package of one's own: the files of ARCHITECTURE.md as they are printed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tomli
import torch
from chain import Chain, StopsAfter

from jobs.certify import count
from jobs.certify.noisy_inputs import NoisyInputs
from jobs.data import load
from jobs.models.load import load_trained, to_sample
from rsctl.catalog import use_plugins
from rsctl.certificates import find_certificate
from rsctl.certificates.bounds import gaussian_radius, one_minus_lower
from rsctl.certificates.possible import Asked, Draws, best_table, too_few
from rsctl.certificates.protocol import Certified, CountTable, abstain_unless, counts_of, selected_classes
from rsctl.cli.app import run as rsctl
from rsctl.config.runs import CountSpec
from rsctl.errors import InputError, RefusedError, UserError
from rsctl.results.sweep import sweep_results
from rsctl.store.checks import check_shard
from rsctl.store.files import replace
from rsctl.store.rows import Rows
from rsctl.store.shards import Corrupt, read_shard
from rsctl.store.tables import data_files, read_table
from rsctl.store.task_context import Stopped

TEXT = Path(__file__).parents[2] / ".github" / "ARCHITECTURE.md"
FILES = dict(
    re.findall(r"```(?:python|toml)\n# (tails/\S+|sweep\.toml)\n(.*?)```", TEXT.read_text(), re.DOTALL)
)
CPU = torch.device("cpu")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chain: Chain) -> Iterator[Path]:
    """The example's package, installed and named in rsctl.toml."""
    site = tmp_path / "site"
    for name, text in FILES.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    settings = tmp_path / "rsctl.toml"
    settings.write_text('plugins = ["tails"]\n' + settings.read_text())
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    use_plugins(["tails"])
    yield site / "tails"
    use_plugins([])
    for name in [name for name in sys.modules if name.partition(".")[0] == "tails"]:
        del sys.modules[name]


def sweep(package: Path, **certification: Any) -> dict[str, Any]:
    values = tomli.loads((package.parent / "sweep.toml").read_text())
    return {**values, "certification": {**values["certification"], **certification}}


def far_by_hand(chain: Chain, norm: float) -> np.ndarray:
    """(N, classes): drawn once more, one block after another, without the sampler."""
    run = chain.counts_run()
    spec, rows = run.count_spec, read_table(run).rows
    images = load("digits", {}, "test", chain.place.data, positions=rows.index.tolist())
    model, _ = load_trained(
        chain.store.run("models", spec.model_run).model_file, spec.model_hash, images.shape
    )
    f = to_sample(model, "fp32", "off", 100, images.shape, CPU)
    inputs = NoisyInputs(spec.sigma, spec.noise_key, spec.n, CPU)
    found = np.zeros((len(rows), 10), int)
    for row, position in enumerate(rows.index.tolist()):
        x = images.batch(torch.tensor([row]))[0][0].float() / 255
        for number in range(5):
            tile = torch.zeros(100, 1, 8, 8)
            noise = inputs.fill(tile[:50], x, "estimation", position, number).flatten(1).double().norm(dim=1)
            with torch.inference_mode():
                predicted = f(tile).argmax(dim=1)[: min(50, spec.n - 50 * number)]
            far = predicted[noise[: len(predicted)] > norm]
            found[row] += torch.bincount(far, minlength=10).numpy()
    return found


def test_the_printed_files_measure_store_resume_and_certify(
    package: Path, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(FILES) == 4
    committed = chain.run_all(sweep(package))
    run = chain.counts_run()
    assert run.count_spec.extras == {"far": {"revision": 1, "parameters": {"norm": 4.5}}}
    first = read_table(run)
    counts = first.rows.extras["far"]["counts"]
    np.testing.assert_array_equal(counts, far_by_hand(chain, 4.5))
    assert 0 < counts.sum() < first.rows.n.sum()
    near, all_draws = (
        find_certificate(name).certify(first.counts(), 0.001) for name in ("near-certify", "cohen")
    )
    assert (near.radius <= all_draws.radius).all()
    assert (near.radius < all_draws.radius).any()
    assert (near.radius > 0).any()
    with h5py.File(run.path / "counts.h5") as file:
        np.testing.assert_array_equal(file["certificates/near-certify/radius"], near.radius)
        assert file["extras/far.counts"].shape == (4, 10)
    rows = sweep_results(chain.store, "far").rows
    assert {row.certificate for row in rows} == {"near-certify", "cohen"}
    # Interrupted after every tile, from the same checkpoint.
    model = committed.requests[0].task.run.model_file.read_bytes()
    monkeypatch.setenv("RSCTL_STORE", str(chain.folder / "stuttering"))
    committed = chain.plan(sweep(package))
    replace(committed.requests[0].task.run.model_file, model)
    task, halfway, stops = committed.requests[1].task, 0, 0
    while True:
        try:
            count.main(chain.work(task, StopsAfter))
            break
        except Stopped:
            stops += 1
            pending = [image for path in data_files(task.run) for image in read_shard(path).pending]
            halfway += any(image.extras["far"]["counts"].any() for image in pending)
    assert stops > 6
    assert halfway > 3
    again = read_table(task.run).rows
    np.testing.assert_array_equal(again.counts, first.rows.counts)
    np.testing.assert_array_equal(again.extras["far"]["counts"], counts)


def test_a_measurement_is_part_of_what_a_run_is(package: Path, chain: Chain) -> None:
    extras: list[dict[str, Any]] = [{}, {"far": {}}, {"far": {"norm": 4.5}}, {"far": {"norm": 5.0}}]
    specs = [
        chain.plan({**sweep(package, extras=one, certificates=["cohen"]), "name": f"s{number}"})
        .requests[-1]
        .task.run.count_spec
        for number, one in enumerate(extras)
    ]
    assert len({spec.hash for spec in specs}) == 3
    assert specs[1].hash == specs[3].hash
    assert "extras" not in specs[0].model_dump()
    assert specs[0].hash == CountSpec(**specs[0].model_dump()).hash


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"extras": {"fra": {}}}, "certification.extras.fra: unknown measurement 'fra'. Did you mean 'far'?"),
        ({"extras": {"far": {"nrom": 4.0}}}, "certification.extras.far.nrom: .*Did you mean 'norm'?"),
        ({"extras": {"far": {"norm": -1.0}}}, "certification.extras.far.norm"),
        ({"extras": {}}, "near-certify needs counts of far draws"),
    ],
)
def test_a_wrong_table_is_named_before_a_draw(
    package: Path, chain: Chain, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        chain.plan(sweep(package, **changes))


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("__init__.py", '"tails.recorder"', '"tails.recoder"', "its recorder in 'tails.recoder', which doesn't exist"),
        ("__init__.py", 'Column("i4"', 'Column("int"', "Extra 'far': column 'counts': kind: input should be 'i4', 'i8', 'f4' or 'f8'"),
        ("recorder.py", "RECORDER = FarCounts", "", "tails.recorder: lacks a RECORDER"),
        ("recorder.py", '{"counts": counts', '{"count": counts', r"observed columns of shapes {'count': \(10,\)}"),
    ],
)  # fmt: skip
def test_a_wrong_package_is_a_sentence(
    package: Path, chain: Chain, file: str, old: str, new: str, says: str
) -> None:
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new))
    with pytest.raises(UserError, match=says):
        chain.run_all(sweep(package))


def test_a_file_that_lacks_the_measurement_is_no_part_of_the_table(package: Path, chain: Chain) -> None:
    chain.run_all(sweep(package))
    run = chain.counts_run()
    (path,) = data_files(run)
    shard = read_shard(path)
    assert isinstance(shard.rows, Rows)
    counts = shard.rows.extras.pop("far")["counts"]
    with pytest.raises(Corrupt, match="its measurement 'far' doesn't match"):
        check_shard(run, path, shard)
    shard.rows.extras["far"] = {"counts": counts[:, :3]}
    assert "'extras/far.counts' of shape (4, 3) doesn't fit" in shard.rows.problem(1)


def test_without_the_package_the_counts_can_be_read(package: Path, chain: Chain) -> None:
    chain.run_all(sweep(package))
    use_plugins([])
    table = read_table(chain.counts_run())
    assert table.problems == []
    assert len(table.rows) == 4
    find_certificate("cohen").certify(table.counts(), 0.001)


def test_a_measurement_is_explained(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rsctl(["explain", "far"]) == 0
    said = capsys.readouterr().out
    assert "certification.extras.far" in said
    assert "Noise norm above which a draw is far" in said
    assert "norm: number > 0. Default 5.0." in said


def test_no_n_is_called_too_small_for_what_columns_decide(
    package: Path, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate of the far draws instead: a table of zeros has none, whatever its n."""

    def of_far_draws(self: Any, table: CountTable, alpha: float) -> Certified:
        if "far" not in table.extras:
            raise RefusedError("No far draws.")
        chosen = selected_classes(table)
        q = one_minus_lower(counts_of(chosen, table.extras["far"]["counts"]), table.n, alpha)
        return abstain_unless(q < 0.5, chosen, gaussian_radius(q, table.sigma), q < 0)

    monkeypatch.setattr(type(find_certificate("near-certify")), "certify", of_far_draws)
    spec = chain.plan(sweep(package)).requests[-1].task.run.count_spec
    drawn = Draws.of(spec, 10, 64)
    assert find_certificate("near-certify").certify(best_table(drawn, 230, 0.002), 0.002).radius == 0
    assert too_few([Asked("near-certify", drawn, 230, 0.002, (0.0, 0.25))]) == []
