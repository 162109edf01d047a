"""One target, one loss, one decoder per neck output.

Legend: B images, V views, P prefix tokens (scored or not), K encoded patches, L
patches, D target size.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from mim_zoo.registry import MODELS

from .corruption import Plan
from .layers import Size
from .losses import MaskedLoss
from .targets import Target


class Prediction(NamedTuple):
    """A prediction and its target (V, P + L, D), and where they count (V, P + L)."""

    pred: Tensor
    target: Tensor
    scored: Tensor


@MODELS.register_module()
class MIMHead(nn.Module):
    """Predict the target at hidden patches from every output of the neck.

    Args:
        target, loss, decoder: configs; the facts after them are handed down by
            ``MIM``: in_channels (one per neck output), grid, prefix_tokens,
            mask_token (whether decoders need one), facts (what targets are told).
        shared: one decoder for all outputs instead of one each.
        weight: factor of this head's losses.
        score_prefix: the class token is predicted, too, in every image (dBOT,
            2209.03917).
    """

    target: Target
    criterion: MaskedLoss

    def __init__(
        self,
        target: dict,
        loss: dict,
        decoder: dict,
        in_channels: Sequence[int],
        grid: Size,
        prefix_tokens: int,
        mask_token: bool,
        facts: dict,
        shared: bool = False,
        weight: float = 1.0,
        score_prefix: bool = False,
    ):
        super().__init__()
        if shared and len(set(in_channels)) > 1:
            raise ValueError(
                f'a shared decoder needs outputs of one width, got {list(in_channels)}'
            )
        if score_prefix and not prefix_tokens:
            raise ValueError(
                'score_prefix: got an encoder without prefix tokens, expected one with '
                'a class token; leave out score_prefix'
            )
        self.scored_prefix = prefix_tokens if score_prefix else 0
        self.target = MODELS.build(
            target,
            default_args=dict(
                facts, outputs=len(in_channels), prefix_tokens=self.scored_prefix
            ),
        )
        self.criterion = MODELS.build(loss)
        self.weight = weight
        self.num_outputs = len(in_channels)
        self.decoders = nn.ModuleList(
            MODELS.build(
                decoder,
                default_args=dict(
                    in_channels=channels,
                    out_channels=self.target.dim,
                    grid=grid,
                    prefix_tokens=prefix_tokens,
                    mask_token=mask_token,
                    score_prefix=score_prefix,
                ),
            )
            for channels in (in_channels[:1] if shared else in_channels)
        )

    def decode(self, features: Sequence[Tensor], plan: Plan) -> list[Tensor]:
        """Predictions (V, P + L, D), one per neck output (B, P + K, C_i)."""
        decoders = list(self.decoders) * (self.num_outputs // len(self.decoders))
        return [decoder(x, plan) for decoder, x in zip(decoders, features)]

    def predict(
        self, features: Sequence[Tensor], images: Tensor, plan: Plan
    ) -> dict[str, Prediction]:
        """Every output's prediction and target, by the name of its loss."""
        predictions = self.decode(features, plan)
        targets = self.target.for_outputs(images, plan)
        scored = F.pad(plan.mask, (self.scored_prefix, 0), value=True)
        return {
            f'loss_{i}': Prediction(pred, target, scored)
            for i, (pred, target) in enumerate(zip(predictions, targets))
        }

    def loss(
        self, features: Sequence[Tensor], images: Tensor, plan: Plan
    ) -> dict[str, Tensor]:
        """Scalar losses, one per output, from features (B, P + K, C_i)."""
        predictions = self.predict(features, images, plan)
        return {
            name: self.weight * self.criterion(*prediction)
            for name, prediction in predictions.items()
        }
