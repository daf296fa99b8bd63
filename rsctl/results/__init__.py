"""Results in a notebook: numpy arrays, and DataFrames where pandas is installed.

import rsctl.results

sweep = rsctl.results.open("runs/sweeps/quickstart")
sweep.frame()                                  # one row per run and radius, as `rsctl export --format csv`
run = sweep.runs[0]                            # or rsctl.results.open("runs/counts/<id>"), "runs/imports/<id>"
run.certified_accuracy([0, 0.25, 0.5])
run.certify("cohen", alpha=0.01).radius        # from the same counts
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rsctl.results.notebook import RunResults, SweepResults, open  # noqa: A004

__all__ = ["RunResults", "SweepResults", "open"]


def __getattr__(name: str) -> Any:
    """Load the public names on first use: other modules of this package must stay quick to import."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from rsctl.results import notebook

    return getattr(notebook, name)


def __dir__() -> list[str]:
    """List the public names for completion in a notebook."""
    return __all__
