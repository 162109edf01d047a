"""One target, one loss, one decoder per neck output.

Legend: B images, V views, P prefix tokens, K encoded patches, L patches, D target size.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from mim_zoo.registry import MODELS

from .corruption import Plan
from .layers import Size
from .losses import MaskedLoss
from .targets import Target


@MODELS.register_module()
class MIMHead(nn.Module):
    """Predict the target at hidden patches from every output of the neck.

    Args:
        target, loss, decoder: configs; the facts after them are handed down by
            ``MIM``: in_channels (one per neck output), grid, prefix_tokens,
            mask_token (whether decoders need one), facts (what targets are told).
        shared: one decoder for all outputs instead of one each.
        weight: factor of this head's losses.
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
    ):
        super().__init__()
        if shared and len(set(in_channels)) > 1:
            raise ValueError(
                f'a shared decoder needs outputs of one width, got {list(in_channels)}'
            )
        self.target = MODELS.build(target, default_args=facts)
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
                ),
            )
            for channels in (in_channels[:1] if shared else in_channels)
        )

    def predict(
        self, features: Sequence[Tensor], images: Tensor, plan: Plan
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Predictions by the name of their loss, and the target; each (V, L, D)."""
        decoders = list(self.decoders) * (self.num_outputs // len(self.decoders))
        predictions = {
            f'loss_{i}': decoder(feature, plan)
            for i, (decoder, feature) in enumerate(zip(decoders, features))
        }
        return predictions, plan.align(self.target(images))

    def loss(
        self, features: Sequence[Tensor], images: Tensor, plan: Plan
    ) -> dict[str, Tensor]:
        """Scalar losses, one per output, from features (B, P + K, C_i)."""
        predictions, target = self.predict(features, images, plan)
        return {
            name: self.weight * self.criterion(pred, target, plan.mask)
            for name, pred in predictions.items()
        }
