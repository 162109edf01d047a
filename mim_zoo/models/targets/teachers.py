"""Frozen networks that targets are made with.

Legend: B images, P prefix tokens, L' tokens on the teacher's grid (h, w), D channels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mim_zoo.registry import MODELS

from ..encoder import Encoder, check_loaded
from ..layers import Size, resolve_indices
from .base import Frozen

Level = tuple[Tensor, Size]  # (B, P + L', D) and the grid (h, w) of its L' tokens


class Teacher(Frozen):
    """A frozen encoder; a subclass says which, and how its levels are had.

    It sets ``widths`` (D of every block), ``prefix_tokens``, and ``statistics``: mean
    and std (C_in,) of the images it expects, in the units of the files, or None for
    those that the trained encoder gets.
    """

    widths: Sequence[int]
    prefix_tokens: int

    @property
    def statistics(self) -> tuple[Tensor, Tensor] | None:
        """Mean and std (C_in,) it expects, None for the trained encoder's."""
        return None

    def resolve(self, layers: Sequence[int]) -> list[int]:
        """Block indices from 0; ValueError unless there are such, of one width."""
        name = f'{type(self).__name__}: layers'
        found = resolve_indices(layers, len(self.widths), name)
        if len({self.widths[i] for i in found}) != 1 or len(set(found)) < len(found):
            raise ValueError(
                f'{name}: got {list(layers)}, of widths '
                f'{[self.widths[i] for i in found]}, expected at least one, each once, '
                'all of one width'
            )
        return found

    def width(self, layers: Sequence[int]) -> int:
        """D of these blocks."""
        return self.widths[layers[0]]

    def load(self) -> None:
        """Read the weights from where they are, once."""
        if not self.loaded:
            self.read_weights()
            self.loaded = True

    def read_weights(self) -> None:
        """Fill the network; ValueError if that is not possible."""
        raise NotImplementedError

    def forward(self, images: Tensor, layers: Sequence[int], norm: bool) -> list[Level]:
        """Levels of whole images (B, C_in, H, W), after the final norm if asked."""
        raise NotImplementedError


@MODELS.register_module()
class EncoderTeacher(Teacher):
    """One of our encoders.

    Args:
        encoder: its config.
        checkpoint: file of its weights, below ``prefix``; without one they are random,
            and belong into checkpoints.
        prefix: 'backbone.' for what this library's pre-training leaves.
    """

    encoder: Encoder

    def __init__(
        self, encoder: dict, checkpoint: str | None = None, prefix: str = 'backbone.'
    ):
        super().__init__()
        self.encoder = MODELS.build(encoder)
        self.widths = [channels for channels, _ in self.encoder.levels]
        self.prefix_tokens = self.encoder.num_prefix_tokens
        self.checkpoint = checkpoint
        self.prefix = prefix
        self.stem_only = False
        self.loaded = self.saved = checkpoint is None

    def read_weights(self) -> None:
        """All of them; ValueError unless they fit."""
        # here, because the engine's hooks import the models
        from mim_zoo.engine.loading import load_weights

        assert self.checkpoint is not None, 'else it is loaded from the beginning'
        report = load_weights(self.encoder, self.checkpoint, self.prefix, min_share=1.0)
        check_loaded(report, self.checkpoint)

    def forward(self, images: Tensor, layers: Sequence[int], norm: bool) -> list[Level]:
        """With ``stem_only`` what enters the first block, in place of every level."""
        encoder, size = self.encoder, images.shape[-2:]
        tokens, pos = encoder.embed(images)
        if self.stem_only:
            outputs = dict.fromkeys(layers, encoder.with_prefix(tokens + pos))
        else:
            outputs = encoder.encode(tokens + pos, layers, size)
        return [
            (
                encoder.norm(outputs[i]) if norm else outputs[i],
                encoder.grid(size, encoder.levels[i][1]),
            )
            for i in layers
        ]


@MODELS.register_module()
class TimmTeacher(Teacher):
    """Any of timm's models that gives its intermediate features.

    Args:
        model: its name, such as 'vit_base_patch16_clip_quickgelu_224.openai' (CLIP),
            'vit_base_patch16_224.dino' or 'vit_base_patch14_dinov2.lvd142m'.
        checkpoint: a local file in place of timm's weights from the hub.
        pretrained: False for random weights, which belong into checkpoints.
        project: the model's last linear layer on every token, as DeepMIM (2303.08817)
            uses CLIP: 512 channels for ViT-B.
        white: value of a white pixel in the files.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: str,
        checkpoint: str | None = None,
        pretrained: bool = True,
        project: bool = False,
        white: float = 255.0,
    ):
        super().__init__()
        if checkpoint and not pretrained:
            raise ValueError(
                f'TimmTeacher: got checkpoint={checkpoint!r} beside pretrained=False, '
                'expected one of them'
            )
        self.name = model
        self.overlay = {'file': checkpoint} if checkpoint else None
        self.model = self._create()
        self.project = self._projection().out_features if project else None
        self.widths = [level['num_chs'] for level in self.model.feature_info]
        self.prefix_tokens = 0  # patch tokens only
        for key in ('mean', 'std'):
            values = torch.tensor(self.model.pretrained_cfg[key]) * white
            self.register_buffer(key, values, persistent=False)
        self.loaded = self.saved = not pretrained

    @property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Those that timm has for the model."""
        return self.mean, self.std

    def width(self, layers: Sequence[int]) -> int:
        """D of these blocks, or of the projection."""
        return self.project or super().width(layers)

    def read_weights(self) -> None:
        """From the hub or the local file, as timm does."""
        try:
            full = self._create(pretrained=True, pretrained_cfg_overlay=self.overlay)
        except Exception as error:
            source = self.overlay['file'] if self.overlay else "timm's hub"
            raise ValueError(
                f'TimmTeacher: could not read {self.name} from {source}: {error}. On '
                'a machine without a network, get the file elsewhere and give '
                'checkpoint=FILE'
            ) from error
        self.model.load_state_dict(full.state_dict())

    def forward(self, images: Tensor, layers: Sequence[int], norm: bool) -> list[Level]:
        """Maps of the intermediate features, as tokens."""
        try:
            maps = self.model.forward_intermediates(
                images, indices=list(layers), norm=norm, intermediates_only=True
            )
        except AssertionError as error:  # as timm says that sizes do not fit
            raise ValueError(
                f'{self.name}: got images of {tuple(images.shape[-2:])} pixels: '
                f'{error}. Fix: TeacherTarget(size=...), to which they are resized'
            ) from error
        tokens = [x.flatten(2).transpose(1, 2) for x in maps]
        if self.project:
            tokens = [self._projection()(x) for x in tokens]
        return [(t, x.shape[-2:]) for t, x in zip(tokens, maps)]

    def _create(self, **options: Any) -> Any:
        """The model for images of any size if it can, else of its own."""
        import timm

        if not timm.is_model(self.name):
            names = timm.list_models(f'*{self.name.split(".")[0][:12]}*')[:5]
            raise ValueError(
                f'TimmTeacher: timm has no model {self.name!r}; similar ones: {names}'
            )
        try:
            model = timm.create_model(self.name, dynamic_img_size=True, **options)
        except TypeError:
            model = timm.create_model(self.name, **options)
        if not hasattr(model, 'forward_intermediates'):
            raise ValueError(
                f'TimmTeacher: {self.name} does not give its intermediate features'
            )
        return model

    def _projection(self) -> nn.Linear:
        head = self.model.get_classifier()
        if not isinstance(head, nn.Linear):
            raise ValueError(
                f'TimmTeacher: got project=True for {self.name}, which has no linear '
                'layer at its end; leave out project'
            )
        return head
