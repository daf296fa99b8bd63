"""Whole-batch statistics of layers in training: means and variances of batch normalisation, means of distance layers."""

from __future__ import annotations

from torch import nn

from jobs.models.architectures.linf_distance import Distance


def least_images(model: nn.Module) -> int:
    """Images that a process must have at each step: the normalisation of single numbers has no variance of one."""
    return 2 if any(isinstance(layer, nn.BatchNorm1d) for layer in model.modules()) else 1


def batch_statistics(model: nn.Module, processes: int) -> str:
    """Description of the images that layers take their statistics over, for the attempt's record."""
    own = {type(layer) for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)}
    shared = any(isinstance(layer, Distance) and layer.centred for layer in model.modules())
    if own - {nn.SyncBatchNorm} and processes > 1:
        return "of each process by itself"
    return "of the whole step" if own or shared else "none"
