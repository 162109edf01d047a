"""Masked image modelling, and the published methods by name.

Legend: B images, V views, L' tokens at the stem, K encoded tokens, P prefix tokens,
L patches on the prediction grid, C channels, D target size.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from mim_zoo.registry import MODELS

from .base import EncoderModel, add_samples
from .corruption import Corruption, Plan
from .head import MIMHead
from .losses import MaskedLoss
from .necks import LevelFusion
from .targets import Target


@MODELS.register_module()
class MIM(EncoderModel):
    """Hide part of each image, encode what is left, complete it, compare.

    Facts flow downhill: the encoder is built first and tells the other parts its
    widths, grid and prefix tokens; a value written in a config wins. No config is
    changed.

    Args:
        head: one ``MIMHead`` config or several over the same features.
    """

    corruption: Corruption
    neck: LevelFusion

    def __init__(
        self,
        backbone: dict,
        corruption: dict,
        head: dict | Sequence[dict],
        neck: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(backbone, data_preprocessor, init_cfg)
        encoder = self.backbone
        self.corruption = MODELS.build(
            corruption,
            default_args=dict(
                channels=encoder.levels[0][0],
                prefix_tokens=encoder.num_prefix_tokens,
                whole_grid=encoder.whole_grid,
                needs_groups=encoder.needs_groups,
            ),
        )
        self.neck = MODELS.build(
            neck or dict(type='LevelFusion'), default_args=dict(levels=encoder.levels)
        )
        facts = dict(
            in_channels=self.neck.out_channels,
            grid=encoder.grid(encoder.img_size),
            prefix_tokens=encoder.num_prefix_tokens,
            mask_token=self.corruption.needs_mask_token,
            facts=dict(
                stride=encoder.stride,
                in_channels=encoder.in_channels,
                mean=self.data_preprocessor.mean.flatten(),
                std=self.data_preprocessor.std.flatten(),
                encoder=backbone,
            ),
        )
        if isinstance(head, dict):
            self.head: MIMHead | nn.ModuleList = MODELS.build(head, default_args=facts)
        else:
            self.head = nn.ModuleList(MODELS.build(h, default_args=facts) for h in head)

    def init_weights(self) -> None:
        """Load what ``init_cfg`` names, and the weights that targets are made with."""
        super().init_weights()
        for head in self.heads:
            head.target.load()

    def reset_parameters(self) -> None:
        """New random weights for all that is trained, in place; not for teachers."""
        decoders = [decoder for head in self.heads for decoder in head.decoders]
        for part in (self.backbone, self.corruption, *self.neck.fusions, *decoders):
            if hasattr(part, 'reset_parameters'):  # else it has no parameters
                part.reset_parameters()

    @property
    def heads(self) -> list[MIMHead]:
        """The heads as a list, one or many."""
        if isinstance(self.head, MIMHead):
            return [self.head]
        return cast(list[MIMHead], list(self.head))

    def forward(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        num_hidden: int | None = None,
        data_samples: dict | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """What the data preprocessor returns, by mode.

        'loss': dict of scalar losses. 'predict': one dict per image with its losses
        and hidden targets. 'tensor': features, see ``extract_feat``.
        """
        if mode == 'tensor':
            return self.extract_feat(inputs)
        if mode not in ('loss', 'predict'):
            raise ValueError(f'mode: got {mode!r}, expected loss, predict or tensor')
        if mask is None:
            raise ValueError(
                'MIM: the batch has no mask; add batch_transforms=[dict('
                f"type='{self.corruption.masking}')] to the data preprocessor, or "
                'masks to the data'
            )
        if mode == 'loss':
            return self.loss(inputs, mask, num_hidden)
        return self.predict(inputs, mask, num_hidden, data_samples)

    def complete(
        self, inputs: Tensor, mask: Tensor, num_hidden: int | None = None
    ) -> tuple[list[Tensor], Plan]:
        """Encode what the mask (B | 1, L) leaves of images (B, C_in, H, W).

        Returns one feature (B, P + K, C_i) per neck output, and the plan.
        """
        tokens, pos = self.backbone.embed(inputs)  # (B, L', C), (1, L', C)
        grid = self.backbone.grid(inputs.shape[-2:])
        if tokens.shape[1] > grid[0] * grid[1]:
            check_multiples(inputs, self.backbone.stride)
        plan = self.corruption.plan(mask, inputs.shape[0], grid, num_hidden)
        seen, groups = plan.hide(tokens, pos)  # (B, K, C), None or (B | 1, L')
        levels = self.backbone.encode(seen, self.neck.taps, inputs.shape[-2:], groups)
        return self.neck(levels, self.backbone.norm, grid, groups), plan

    def decode(
        self, inputs: Tensor, mask: Tensor, num_hidden: int | None = None
    ) -> tuple[list[Tensor], Plan]:
        """Predictions (V, P + L, D) of the first head's decoders, and the plan."""
        features, plan = self.complete(inputs, mask, num_hidden)
        return self.heads[0].decode(features, plan), plan

    def loss(
        self, inputs: Tensor, mask: Tensor, num_hidden: int | None = None
    ) -> dict[str, Tensor]:
        """Scalar losses of every head; several heads prefix theirs by their number.

        With them what the neck has to say, under names without 'loss' (MMEngine adds up
        those with it).
        """
        features, plan = self.complete(inputs, mask, num_hidden)
        losses = self._by_head([h.loss(features, inputs, plan) for h in self.heads])
        return {**losses, **self.neck.log_values()}

    @torch.no_grad()
    def predict(
        self,
        inputs: Tensor,
        mask: Tensor,
        num_hidden: int | None = None,
        data_samples: dict | None = None,
    ) -> list[dict]:
        """One dict per image: losses {name: ()}, targets {name: (n, D)}, sample_idx.

        Losses are not multiplied by their head's ``weight``.
        ``targets`` are those of the image's n hidden patches, and of its class token if
        that is scored.
        """
        features, plan = self.complete(inputs, mask, num_hidden)
        records: list[dict] = [dict(losses={}, targets={}) for _ in inputs]
        per_head = [h.predict(features, inputs, plan) for h in self.heads]
        views_of = plan.views_of(len(records))
        for name, (pred, target, scored) in self._by_head(per_head).items():
            criterion = self.criteria[name]
            for record, views in zip(records, views_of):
                here = scored[views]
                truth = target[views][here].float()
                error = criterion.error(pred[views][here].float(), truth)
                record['losses'][name] = error.mean()
                record['targets'][name] = truth
        return add_samples(records, data_samples)

    @torch.no_grad()
    def reconstruct(
        self, inputs: Tensor, mask: Tensor
    ) -> tuple[list[Tensor], Plan, Target]:
        """Predictions (V, L, D) of the first head's decoders, the plan, the target."""
        predictions, plan = self.decode(inputs, mask)
        return predictions, plan, self.heads[0].target

    @property
    def criteria(self) -> dict[str, MaskedLoss]:
        """The masked loss behind every name in the losses."""
        return self._by_head(
            [
                {f'loss_{i}': head.criterion for i in range(head.num_outputs)}
                for head in self.heads
            ]
        )

    def _by_head(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        if len(parts) == 1:
            return parts[0]
        return {
            f'head{i}.{k}': v for i, part in enumerate(parts) for k, v in part.items()
        }


def check_multiples(images: Tensor, stride: int) -> None:
    """ValueError unless images (B, C_in, H, W) are whole cells of the mask."""
    H, W = images.shape[-2:]
    if H % stride or W % stride:
        raise ValueError(
            f'images: got {H} x {W} pixels, expected multiples of {stride}, the stride '
            'of the encoder; crop or resize them'
        )


@MODELS.register_module()
class MAE(MIM):
    """Masked autoencoders are scalable vision learners (2111.06377): drop, decode."""


@MODELS.register_module()
class PixMIM(MIM):
    """Rethinking pixel reconstruction in MIM (2303.02416): MAE on low frequencies."""


@MODELS.register_module()
class MFF(MIM):
    """Multi-level feature fusion (MFF, 2308.00261): shallow blocks take part."""


@MODELS.register_module()
class MixMIM(MIM):
    """Mixed and masked image modelling, MixMAE (2205.13137): two images in one."""


@MODELS.register_module()
class DeepMIM(MIM):
    """Deep supervision for MIM (2303.08817): shallow blocks predict the target, too."""


@MODELS.register_module()
class DBOT(MIM):
    """Bootstrapped masked distillation, dBOT (2209.03917): by a teacher in stages."""
