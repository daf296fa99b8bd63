"""A plugin that was written for the first release works unchanged, and all that plugins and notebooks import stays importable."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from chain import Chain, toml

from rsctl.catalog import use_plugins

PUBLIC = {
    "rsctl": ["__version__"],
    "rsctl.results": ["open", "RunResults", "SweepResults"],
    "rsctl.errors": ["InputError", "RefusedError", "UnavailableError", "UserError"],
    "rsctl.catalog.declare": [
        "Attack", "DataSet", "DataShape", "Defaults", "Method", "Model", "NoParameters", "Parameters", "Verifier",
    ],
    "rsctl.certificates": [
        "ABSTAIN", "Certificate", "Certified", "CountTable", "Guarantee", "Halves", "Looks", "Shells", "certificates", "find_certificate",
    ],
    "rsctl.certificates.protocol": [
        "Certified", "CountTable", "Guarantee", "abstain_unless", "counts_of", "other_counts", "require_fixed_gaussian", "selected_classes",
    ],
    "rsctl.certificates.bounds": ["gaussian_radius", "one_minus_lower", "upper"],
    "rsctl.catalog.attacks": ["AttackParameters"],
    "jobs.state": ["TrainingState"],
    "jobs.losses": ["noisy_logits", "mean_softmax", "mean_cross_entropy", "cross_entropies", "kl", "entropy", "log_of", "norm_of", "unit", "within"],
    "jobs.adversary": ["evaluating", "smoothed_loss", "loss_of_mean", "gradient", "pgd", "within_box", "ddn"],
    "jobs.attacks": ["Attacker", "Classify", "Found", "Nearest", "distances", "fooled", "looking"],
    "jobs.verifiers": ["Prover", "Verdicts"],
    "jobs.models.load": ["Executed"],
    "jobs.data.images": ["ArrayImages", "FileImages", "Images", "as_positions"],
}  # fmt: skip
"""Names that users import. The documentation names `rsctl.results` and `rsctl.catalog.declare`, messages about a wrong plugin the latter and
`rsctl.certificates`, declarations `jobs.attacks` and `jobs.verifiers`; the others are what rsctl's own losses, certificates,
attacks, verifiers and readers import, which a plugin's author starts from."""
COMMANDS = ["rsctl.__main__", "rsctl.cluster.task"]
"""Modules that running queues, process lists and queued jobs know by their names."""
SWEEP = {
    "name": "mine", "dataset": "stripes", "model": {"name": "perceptron", "width": 8}, "method": "logit-norm", "sigma": 0.25,
    "certification": {"n0": 20, "n": 200, "max_images": 4, "tile": 100, "block": 50, "certificates": ["half", "cohen"]},
}  # fmt: skip
FURTHER = """
[[verification]]
verifier = "nothing"
norm = "l2"
[[attack]]
attack = "walk"
"""


@pytest.mark.parametrize("module", sorted(PUBLIC))
def test_what_plugins_import_stays_importable(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in PUBLIC[module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("module", COMMANDS)
def test_what_processes_and_queued_jobs_name_stays_where_it_is(module: str) -> None:
    assert importlib.util.find_spec(module) is not None


def test_a_plugin_of_the_first_release_declares_one_of_each_kind_and_runs(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(Path(__file__).parent / "plugin")
    monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", place)
    settings = chain.folder / "rsctl.toml"
    settings.write_text('plugins = ["yesterdays"]\n' + settings.read_text())
    from outputs import command

    from rsctl.config.sweep import load_sweep
    from rsctl.plan.commit import commit
    from rsctl.plan.plan import make_plan

    file = chain.file(toml(SWEEP) + FURTHER)
    try:
        assert command("check", str(file))[0] == 0
        plan = make_plan(load_sweep(file, chain.place.data), str(file))
        for request in commit(plan, chain.place, update=False).requests:
            chain.run(request.task)
        (run,) = chain.store.runs("models")
        assert run.id == "logit-norm-stripes-s0.25-39e976c1"
        assert run.train_spec.hyperparameters == {"weight": 0.02}
        rows = json.loads(command("export", "mine", "--format", "json")[1])["rows"]
        assert {row["certificate"] for row in rows} >= {"half", "nothing"}
        half = [row["acr"] for row in rows if row["certificate"] == "half"]
        whole = json.loads(command("export", "mine", "--format", "json", "--certificate", "cohen")[1])["rows"]
        assert half[0] == pytest.approx(whole[0]["acr"] / 2) != 0
        assert command("status", "mine")[0] == 0
    finally:
        use_plugins([])


def test_a_certificate_of_the_first_release_reads_the_sums_of_noise() -> None:
    from rsctl.certificates import CountTable, Halves

    sums = Halves((5, 5), np.array([[1, 0]]), np.array([[2.0, 0.0, 0.0]]))
    table = CountTable(np.array([[1, 0]]), np.array([[9, 1]]), np.array([10]), 0.5, 3, gradient_sums=sums)
    assert table.halves is sums
    assert sums.others is sums.misses
