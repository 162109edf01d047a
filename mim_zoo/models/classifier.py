"""Image classification on an encoder: fine-tuning and linear probing.

Legend: B images, P prefix tokens, L patches, C channels.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mim_zoo.registry import MODELS

from .base import EncoderModel, add_samples
from .encoder import check_pool


@MODELS.register_module()
class Classifier(EncoderModel):
    """Encoder, pooling, optional norm, linear layer.

    Args:
        pool: 'avg' (mean of the patches) or 'cls'.
        head_norm: 'layer' (MAE fine-tuning: a new ``fc_norm`` after pooling takes the
            place of the encoder's last norm), 'batch' (MAE linear probe: BatchNorm
            without affine), or None (the encoder's norm only).
        freeze_backbone: train the head alone; the encoder stays in eval mode.
        head_init_std: of the linear layer, truncated normal.
        augment: ``BatchAugment`` config, applied to training batches on the device.
        label_smoothing: for training without ``augment``, which brings its own.
    """

    def __init__(
        self,
        backbone: dict,
        num_classes: int,
        pool: str = 'avg',
        head_norm: str | None = 'layer',
        freeze_backbone: bool = False,
        head_init_std: float = 2e-5,
        augment: dict | None = None,
        label_smoothing: float = 0.0,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        if head_norm not in ('layer', 'batch', None):
            raise ValueError(
                f"head_norm: got {head_norm!r}, expected 'layer', 'batch' or None"
            )
        if augment and label_smoothing:
            raise ValueError(
                f'label_smoothing={label_smoothing} beside augment: expected one of '
                'them; give it to augment=dict(label_smoothing=...)'
            )
        if num_classes < 2:
            raise ValueError(
                f'num_classes: got {num_classes}, expected at least 2: what is not of '
                'a class is another one, with a folder of its own'
            )
        super().__init__(backbone, data_preprocessor, init_cfg, pool)
        check_pool(pool, self.backbone.num_prefix_tokens)
        if self.backbone.needs_groups:
            raise ValueError(
                'Classifier: got an encoder with embeddings of groups, which one image '
                "has none of; leave out group_mode='embedding'"
            )
        channels = self.backbone.embed_dim
        self.label_smoothing = label_smoothing
        self.num_classes = num_classes
        if head_norm == 'layer':
            if not backbone.get('final_norm'):  # fc_norm takes its place
                self.backbone.norm = nn.Identity()
            self.fc_norm = nn.LayerNorm(channels, eps=1e-6)
        elif head_norm == 'batch':
            self.bn = nn.BatchNorm1d(channels, eps=1e-6, affine=False)
        self.head_norm = head_norm
        self.head = nn.Linear(channels, num_classes)
        nn.init.trunc_normal_(self.head.weight, std=head_init_std)
        nn.init.zeros_(self.head.bias)
        facts = dict(num_classes=num_classes)
        self.augment = MODELS.build(augment, default_args=facts) if augment else None
        if freeze_backbone:
            self.backbone.freeze()

    def forward(
        self,
        inputs: Tensor,
        data_samples: dict | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """'tensor': logits (B, classes). 'loss': dict. 'predict': one dict per image
        with ``pred_score`` (classes,), and what ``data_samples`` says of it.
        """
        if mode == 'tensor':
            return self.classify(inputs)
        if mode == 'loss':
            return self.loss(inputs, self._labels(data_samples))
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise ValueError(f'mode: got {mode!r}, expected loss, predict or tensor')

    def extract_feat(self, inputs: Tensor, pool: str | None = None) -> Tensor:
        """What the linear layer sees of images (B, C_in, H, W): normed, (B, C)."""
        return self.normed(super().extract_feat(inputs, pool))

    def extract_block_feats(
        self, inputs: Tensor, pool: str | None = None
    ) -> list[Tensor]:
        """The same after every block, the last one's normed."""
        *shallow, last = super().extract_block_feats(inputs, pool)
        return [*shallow, self.normed(last)]

    def normed(self, x: Tensor) -> Tensor:
        """Pooled features (B, C) after the norm of the head."""
        if self.head_norm == 'layer':
            return self.fc_norm(x)
        return self.bn(x) if self.head_norm == 'batch' else x

    def classify(self, inputs: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, C_in, H, W)."""
        return self.head(self.extract_feat(inputs))

    def loss(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Cross entropy with labels (B,), or with the soft ones of ``augment``."""
        if self.augment is not None and self.training:
            inputs, labels = self.augment(inputs, labels)
            return dict(loss=F.cross_entropy(self.classify(inputs).float(), labels))
        logits = self.classify(inputs).float()
        return dict(
            loss=F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        )

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: dict | None = None) -> list[dict]:
        """Softmax scores, one dict per image."""
        records = [
            dict(pred_score=score)
            for score in self.classify(inputs).float().softmax(-1)
        ]
        return add_samples(records, data_samples)

    def _labels(self, data_samples: dict | None) -> Tensor:
        if not data_samples or 'gt_label' not in data_samples:
            raise ValueError(
                'Classifier: the batch has no gt_label; use a labelled data set '
                '(ImageFolder with_label=True, Digits, SamplePhotos)'
            )
        return data_samples['gt_label']


@MODELS.register_module()
class BatchAugment(nn.Module):
    """timm's random erasing, then Mixup/CutMix, on normalised batches.

    The defaults are those of MAE's fine-tuning (2111.06377): mixup 0.8, cutmix 1.0 with
    equal chance on every batch, label smoothing 0.1, erasing 0.25 with noise.

    Args:
        num_classes: handed down by ``Classifier``.
    """

    def __init__(
        self,
        num_classes: int,
        mixup: float = 0.8,
        cutmix: float = 1.0,
        label_smoothing: float = 0.1,
        erase: float = 0.25,
    ):
        from timm.data.mixup import Mixup
        from timm.data.random_erasing import RandomErasing

        super().__init__()
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.mixup = None
        if mixup > 0 or cutmix > 0:
            self.mixup = Mixup(
                mixup_alpha=mixup,
                cutmix_alpha=cutmix,
                label_smoothing=label_smoothing,
                num_classes=num_classes,
            )
        self.erase = RandomErasing(erase, mode='pixel', device='cpu') if erase else None

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C_in, H, W), (B,) to augmented images and soft labels (B, classes)."""
        images = images.clone()  # timm's work in place
        if self.erase is not None:
            self.erase.device = images.device
            images = self.erase(images)
        if self.mixup is not None:
            if len(images) % 2:
                raise ValueError(
                    f'Mixup: got a batch of {len(images)}, expected an even number; '
                    'change batch_size or set drop_last=True'
                )
            return self.mixup(images, labels)
        soft = F.one_hot(labels, self.num_classes).to(images)
        smooth = self.label_smoothing
        return images, soft * (1 - smooth) + smooth / self.num_classes
