"""`rsctl bench`: measures a model's throughput on this machine and stores it for the cost estimate."""

from __future__ import annotations

import json
import subprocess
from typing import Any, get_args

from rsctl.catalog import known_datasets, known_models
from rsctl.config.sections import Compile
from rsctl.config.settings import Place
from rsctl.errors import InputError, UnavailableError, unknown
from rsctl.modules import module_command
from rsctl.store.files import replace, to_json
from rsctl.store.layout import Run, Store
from rsctl.text import counted


def bench(
    place: Place, model: str, dataset: str, threads: int, sigma: float, compile_mode: str = "off"
) -> dict[str, Any]:
    """Measure and store the throughput of a trained run, or of an architecture on a data set.

    Raises InputError for names that don't exist, UnavailableError if the measurement fails.
    """
    store = Store(place.store)
    command = module_command(
        "jobs.bench", "--data", str(place.data), "--threads", str(threads), "--sigma", str(sigma), "--compile", compile_mode,
    )  # fmt: skip
    if model in known_models():
        if dataset not in known_datasets():
            raise InputError(f"--dataset: {unknown('data set', dataset, known_datasets())}")
        command += ["--model", model, "--dataset", dataset]
    else:
        run = _trained(store, model)
        spec = run.train_spec
        parameters = run.launch()["dataset_parameters"]
        command += ["--run", str(run.path), "--model", spec.model, "--dataset", spec.dataset]
        command += ["--parameters", json.dumps(parameters)]
    modes = get_args(Compile)
    if compile_mode not in modes:
        raise InputError(f"--compile: {unknown('mode', compile_mode, modes)}")
    # torch is loaded in a separate process.
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["the measurement exited with no error message"]
        raise UnavailableError(said[-1])
    figures: dict[str, Any] = json.loads(done.stdout)
    name = f"{figures['model']}-{figures['dataset']}-{figures['time']:.0f}.json"
    replace(store.root / "bench" / name, to_json(figures))
    return figures


def _trained(store: Store, name: str) -> Run:
    try:
        run = store.find_run(name)
    except InputError as error:
        raise InputError(
            f"'{name}' is neither a known architecture ({', '.join(known_models())}) nor a run: {error}"
        ) from error
    if run.kind.is_table or not run.model_file.exists():
        raise InputError(f"{run.id}: is not a trained model. Its training must finish first.")
    return run


def bench_text(figures: dict[str, Any]) -> str:
    """Format the figures as a table."""
    lines = [
        f"{figures['model']} on {figures['dataset']} images, {figures['device']}, {counted(figures['threads'], 'thread')}",
        "",
        "precision   compile   samples/s   tile   argmax as in fp32",
    ]
    lines += [
        f"{r['precision']:9}   {r['compile']:7} {r['samples_per_second']:11,.0f} {r['tile']:6}   {r['agreement']:.2%}"
        for r in figures["rows"]
    ]
    return "\n".join(lines)
