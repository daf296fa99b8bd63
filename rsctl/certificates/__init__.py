"""Counts → radii. Each certificate says what it guarantees, and of which classifier."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from rsctl.catalog import declared, plugins, unknown_name
from rsctl.certificates.norms import InNorm
from rsctl.certificates.protocol import (
    ABSTAIN,
    Certificate,
    Certified,
    CountTable,
    GradientSums,
    Guarantee,
    Halves,
    Looks,
    Shells,
)
from rsctl.errors import InputError

__all__ = [
    "ABSTAIN",
    "Certificate",
    "Certified",
    "CountTable",
    "GradientSums",
    "Guarantee",
    "Halves",
    "Looks",
    "Shells",
    "certificates",
    "find_certificate",
]


def certificates() -> dict[str, Certificate]:
    """Every certificate of this room and of the plugins, by name.

    A module here holds one `CERTIFICATE`, or `CERTIFICATES` where a parameter (k of top-k) is part of the
    name. Each probabilistic ℓ2 one of this room also exists as `<name>-l1` and `<name>-linf`.
    """
    return _certificates(plugins())


@cache
def _certificates(plugins: tuple[str, ...]) -> dict[str, Certificate]:
    modules = [
        importlib.import_module(f"{__name__}.{entry.name}") for entry in pkgutil.iter_modules(__path__)
    ]
    own: list[Certificate] = [module.CERTIFICATE for module in modules if hasattr(module, "CERTIFICATE")]
    own += [certificate for module in modules for certificate in getattr(module, "CERTIFICATES", ())]
    inner = [entry for entry in own if entry.norm == "l2" and entry.guarantee.kind == "probabilistic"]
    return declared(own + [InNorm(entry, norm) for norm in ("l1", "linf") for entry in inner], "CERTIFICATES")


def find_certificate(name: str) -> Certificate:
    """The certificate of this name; raises InputError with the names that exist."""
    if name not in certificates():
        raise InputError(unknown_name("certificate", name, certificates()))
    return certificates()[name]
