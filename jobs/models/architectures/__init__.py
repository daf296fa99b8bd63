"""Architectures, one file each, named like its declaration in `rsctl.catalog.models`.

A module has one function,

    build(name, classes, channels, size, **parameters) -> nn.Module

with `name` the declared one, for families of networks that share a file, and `parameters` as declared. The network has no
normalisation layer: float (B, channels, size, size) → logits (B, classes).
"""
