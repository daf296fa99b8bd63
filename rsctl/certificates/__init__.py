"""Counts → radii. Each certificate says what it guarantees, and of which classifier."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from rsctl.catalog import declared, plugins
from rsctl.certificates.protocol import ABSTAIN, Certificate, Certified, CountTable, Guarantee
from rsctl.errors import InputError, unknown

__all__ = [
    "ABSTAIN",
    "Certificate",
    "Certified",
    "CountTable",
    "Guarantee",
    "certificates",
    "find_certificate",
]


def certificates() -> dict[str, Certificate]:
    """Every certificate of this room (a module with `CERTIFICATE`) and of the plugins, by name."""
    return _certificates(plugins())


@cache
def _certificates(plugins: tuple[str, ...]) -> dict[str, Certificate]:
    modules = [
        importlib.import_module(f"{__name__}.{entry.name}") for entry in pkgutil.iter_modules(__path__)
    ]
    own = [module.CERTIFICATE for module in modules if hasattr(module, "CERTIFICATE")]
    return declared(own, "CERTIFICATES")


def find_certificate(name: str) -> Certificate:
    """The certificate of this name; raises InputError with the names that exist."""
    if name not in certificates():
        raise InputError(unknown("certificate", name, certificates()))
    return certificates()[name]
