"""Options that hold several numbers: radii, and the levels and thresholds of a cascade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rsctl.errors import InputError

if TYPE_CHECKING:
    from rsctl.certificates.cascade import Cascade

CascadeLevels = Annotated[
    str,
    typer.Option(
        "--cascade", metavar="σ,σ|RUN@τ+RUN", help="Show the cascade of these noise levels or runs, in this order, and its levels alone."
    ),
]  # fmt: skip
Tau = Annotated[
    str,
    typer.Option("--tau", help="Threshold of the cascade in [0.5, 1); or one for each level but the last."),
]


def parse_radii(text: str) -> list[float]:
    """Parse `0,0.25,2/255` into ascending, distinct numbers."""
    radii = []
    for part in text.split(","):
        above, _, below = part.strip().partition("/")
        try:
            value = float(above) / (float(below) if below else 1.0)
        except (ValueError, ZeroDivisionError) as error:
            raise InputError(f"--radii: '{part}' is not a number such as 0.25 or 2/255.") from error
        if not 0 <= value < float("inf"):
            raise InputError(f"--radii: '{part}' is not a radius: it must be finite and at least 0.")
        radii.append(value)
    return sorted(set(radii))


def parse_cascade(levels: str, tau: str) -> Cascade | str | None:
    """The cascade of both options, or `RUN@τ+RUN`; None without them. Raises InputError, RefusedError."""
    if not levels and not tau:
        return None
    if "@" in levels or "+" in levels:
        if tau:
            raise InputError(f"--tau: the cascade {levels} has its thresholds, as RUN@τ+RUN; leave it out.")
        return levels
    if not levels or not tau:
        missing = (
            "--cascade, its noise levels, such as 0.25,0.5" if tau else "--tau, its threshold, such as 0.9"
        )
        raise InputError(f"a cascade needs {missing}.")
    from rsctl.certificates.cascade import Cascade, as_thresholds

    sigmas, taus = _numbers("--cascade", levels), _numbers("--tau", tau)
    return Cascade(tuple(sigmas), as_thresholds(taus[0] if len(taus) == 1 else taus, len(sigmas)))


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{option}: '{text}' is not a list of numbers such as 0.25,0.5.") from error
