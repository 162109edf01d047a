"""From encoded patches to a prediction for every patch.

Every decoder is told the same facts by ``MIMHead``: in_channels, out_channels (D),
grid (h, w) it is built for, prefix_tokens (P), mask_token (whether the plan needs
one), score_prefix (whether the prefix tokens are predicted, too). Legend: V views, P
prefix tokens, K encoded patches, L patches, C channels.
"""

from typing import Any

import torch
from torch import Tensor, nn

from mim_zoo.registry import MODELS

from .corruption import Plan
from .layers import (
    Block,
    Size,
    growing_rates,
    init_transformer,
    run_block,
)
from .positions import position_from_file, resample_position, sincos_position


class Decoder(nn.Module):
    """Base of decoders: what they keep of the facts."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: Size,
        prefix_tokens: int = 0,
        score_prefix: bool = False,
    ):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.grid = grid
        self.prefix_tokens = prefix_tokens
        self.unscored = 0 if score_prefix else prefix_tokens


@MODELS.register_module()
class TransformerDecoder(Decoder):
    """MAE's decoder (2111.06377): complete the sequence, some blocks, a projection.

    The prefix tokens take part and, unless they are scored, are dropped before the
    prediction. ``norm_eps`` is 1e-6 as in MAE; MixMIM has 1e-5 (2205.13137).
    ``drop_path_rate`` grows from 0 in the first block (dBOT, 2209.03917). ``with_cp``:
    blocks are recomputed in the backward pass instead of stored.
    """

    def __init__(
        self,
        embed_dim: int = 512,
        depth: int = 8,
        num_heads: int = 16,
        norm_eps: float = 1e-6,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        mask_token: bool = True,
        **facts: Any,
    ):
        super().__init__(**facts)
        self.with_cp = with_cp
        self.embed = nn.Linear(self.in_channels, embed_dim)
        self.mask_token = (
            nn.Parameter(torch.empty(1, 1, embed_dim)) if mask_token else None
        )
        self.pos_embed = nn.Parameter(
            torch.empty(1, self.prefix_tokens + self.grid[0] * self.grid[1], embed_dim),
            requires_grad=False,
        )
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, drop_path=rate, norm_eps=norm_eps)
            for rate in growing_rates(drop_path_rate, depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.pred = nn.Linear(embed_dim, self.out_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Random init as in MAE; fixed sine-cosine positions."""
        init_transformer(self)
        if self.mask_token is not None:
            nn.init.normal_(self.mask_token, std=0.02)
        table = sincos_position(self.embed.out_features, self.grid)
        with torch.no_grad():
            self.pos_embed.zero_()
            self.pos_embed[:, self.prefix_tokens :] = table.to(self.pos_embed)

    def forward(self, features: Tensor, plan: Plan) -> Tensor:
        """Encoded (B, P + K, C_in) to predictions (V, L, D), or (V, P + L, D)."""
        P = self.prefix_tokens
        x = self.embed(features)
        patches = plan.reveal(x[:, P:], self.mask_token)  # (V, L, C)
        x = torch.cat([x[:, :P], patches], dim=1) if P else patches
        pos = resample_position(self.pos_embed[:, P:], self.grid, plan.grid)
        x = x + torch.cat([self.pos_embed[:, :P], pos], dim=1)
        for block in self.blocks:
            x = run_block(block, self.with_cp, x)
        return self.pred(self.norm(x[:, self.unscored :]))

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs) -> None:
        key = prefix + 'pos_embed'
        if key in state_dict:
            state_dict[key] = position_from_file(
                state_dict[key], self.grid, self.prefix_tokens, key
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


@MODELS.register_module()
class LinearDecoder(Decoder):
    """One linear layer per patch (SimMIM, 2111.09886; MaskFeat, 2112.09133)."""

    def __init__(self, mask_token: bool = False, **facts: Any):
        super().__init__(**facts)
        if mask_token:
            raise ValueError(
                'LinearDecoder: got a corruption that drops patches, expected one that '
                'keeps every place (MaskPatches): a linear layer would predict the '
                'same values at every dropped patch; use TransformerDecoder'
            )
        self.pred = nn.Linear(self.in_channels, self.out_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier projection, zero bias."""
        init_transformer(self)

    def forward(self, features: Tensor, plan: Plan) -> Tensor:
        """Encoded (B, P + L, C_in) to predictions (V, L, D), or (V, P + L, D)."""
        patches = plan.reveal(features[:, self.prefix_tokens :], None)
        prefix = features[:, self.unscored : self.prefix_tokens]
        return self.pred(torch.cat([prefix, patches], dim=1))
