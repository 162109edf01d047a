"""Errors per patch, averaged over hidden patches.

Legend: V views, L patches, D target size. ``mask`` (V, L) is True where hidden.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mim_zoo.registry import MODELS


def masked_mean(error: Tensor, mask: Tensor) -> Tensor:
    """Mean of error (V, L) over the True places of the mask, in fp32."""
    weight = mask.to(torch.float32)
    return (error.float() * weight).sum() / weight.sum()


class MaskedLoss(nn.Module):
    """Mean error over hidden patches; a subclass says what the error is."""

    def error(self, pred: Tensor, target: Tensor) -> Tensor:
        """Error per patch: (..., D), (..., D) -> (...)."""
        raise NotImplementedError

    def best_constant(self, target: Tensor) -> Tensor:
        """The one vector (D,) with the least error against targets (N, D)."""
        raise NotImplementedError

    def forward(self, pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Scalar loss of predictions and targets (V, L, D) under the mask (V, L)."""
        return masked_mean(self.error(pred.float(), target.float()), mask)


@MODELS.register_module()
class MaskedMSE(MaskedLoss):
    """Squared error, mean over D (MAE, 2111.06377)."""

    def error(self, pred: Tensor, target: Tensor) -> Tensor:
        """Mean over D of the squared difference."""
        return (pred - target).square().mean(-1)

    def best_constant(self, target: Tensor) -> Tensor:
        """The mean."""
        return target.mean(0)


@MODELS.register_module()
class MaskedL1(MaskedLoss):
    """Absolute error, mean over D (SimMIM, 2111.09886)."""

    def error(self, pred: Tensor, target: Tensor) -> Tensor:
        """Mean over D of the absolute difference."""
        return (pred - target).abs().mean(-1)

    def best_constant(self, target: Tensor) -> Tensor:
        """The median."""
        return target.median(0).values


@MODELS.register_module()
class MaskedSmoothL1(MaskedLoss):
    """Squared below ``beta`` and linear above, mean over D (dBOT, 2209.03917)."""

    def __init__(self, beta: float = 2.0):
        super().__init__()
        if beta <= 0:
            raise ValueError(f'MaskedSmoothL1: got beta={beta}, expected beta > 0')
        self.beta = beta

    def error(self, pred: Tensor, target: Tensor) -> Tensor:
        """Mean over D of the Huber-like difference."""
        loss = F.smooth_l1_loss(pred, target, reduction='none', beta=self.beta)
        return loss.mean(-1)

    def best_constant(self, target: Tensor) -> Tensor:
        """Iteratively re-weighted mean, which is Huber's M-estimate of location."""
        centre = target.median(0).values
        for _ in range(50):
            weight = self.beta / (target - centre).abs().clamp(min=self.beta)
            centre = (weight * target).sum(0) / weight.sum(0)
        return centre


@MODELS.register_module()
class MaskedCosine(MaskedLoss):
    """2 - 2 cos between prediction and target (MILAN, DeepMIM with CLIP)."""

    def error(self, pred: Tensor, target: Tensor) -> Tensor:
        """Squared distance of the unit vectors."""
        return 2 - 2 * F.cosine_similarity(pred, target, dim=-1)

    def best_constant(self, target: Tensor) -> Tensor:
        """The mean direction."""
        return F.normalize(target, dim=-1).mean(0)
