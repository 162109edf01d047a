"""What is predicted: from normalised images (B, C_in, H, W) to targets (B, L, D).

Legend: B images, V views, L patches on the prediction grid, P scored prefix tokens, D
target size.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..layers import Size, cells

if TYPE_CHECKING:
    from ..corruption import Plan


class Target(nn.Module):
    """Base of targets: the facts they share, and whether they can be drawn.

    Every target is told the same facts by ``MIM``: stride (pixels of a prediction
    cell), in_channels, the mean and std of the data preprocessor in the units of the
    files, the config of the encoder that is trained, how many outputs of the neck are
    compared with it, and how many prefix tokens are scored, P. It states D as ``dim``.
    """

    dim: int
    mean: Tensor  # (C_in | 1, 1, 1)
    std: Tensor
    caption: str  # under a reconstruction: what was used beside the prediction
    drawable = False  # as an image, by ``invert``

    def __init__(
        self,
        stride: int,
        in_channels: int = 3,
        mean: Sequence[float] | Tensor = (0.0,),
        std: Sequence[float] | Tensor = (1.0,),
        encoder: dict | None = None,
        outputs: int = 1,
        prefix_tokens: int = 0,
    ):
        super().__init__()
        self.stride = stride
        self.in_channels = in_channels
        self.student = encoder
        self.outputs = outputs
        self.prefix_tokens = prefix_tokens
        self.check_prefix()
        for name, values in (('mean', mean), ('std', std)):
            values = torch.as_tensor(values, dtype=torch.float32).view(-1, 1, 1)
            self.register_buffer(name, values.clone(), persistent=False)

    def check_prefix(self) -> None:
        """ValueError if prefix tokens are scored that this target says nothing of."""
        if self.prefix_tokens:
            raise ValueError(
                f'{type(self).__name__} with score_prefix=True: it has a value for '
                'every patch and none for a class token; leave out score_prefix'
            )

    def grid(self, size: Sequence[int]) -> Size:
        """Prediction cells (h, w) of images of ``size`` (H, W)."""
        return cells(size, self.stride)

    def load(self) -> None:
        """Read weights that the target computes with, if it has any, from their file.

        Called when training starts or the target is first needed, so that a model can
        be built without them.
        """

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, C_in, H, W) to targets (B, P + L, D), fp32."""
        raise NotImplementedError

    def for_outputs(self, images: Tensor, plan: 'Plan') -> list[Tensor]:
        """One (V, P + L, D) per output of the neck, the same for all but in hybrids.

        images (B, C_in, H, W) are those that the plan hides parts of.
        """
        return [plan.align(self(images))] * self.outputs

    def invert(self, pred: Tensor, images: Tensor) -> Tensor:
        """Predictions (B, L, D) as normalised images (B, C_in, H, W)."""
        raise ValueError(
            f'{type(self).__name__} has no inverse: it cannot be drawn as an image'
        )


def check_patches(size: Sequence[int], patch: int) -> None:
    """ValueError unless images of ``size`` (H, W) are whole patches."""
    H, W = size
    if H % patch or W % patch:
        raise ValueError(
            f'images: got {H} x {W} pixels, expected multiples of the patch '
            f'({patch}); crop or resize to a multiple'
        )


class Frozen(nn.Module):
    """Never trained: no gradients, always in evaluation mode, out of the optimizer.

    ``saved`` says whether its weights belong into checkpoints. They do not if they can
    be had where they came from. ``loaded``: there they are already.
    """

    saved = True
    loaded = True

    def __init__(self) -> None:
        super().__init__()
        self._register_state_dict_hook(_leave_out)

    def freeze(self) -> None:
        """To be called when all parts are there."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> 'Frozen':
        """It stays in evaluation mode."""
        return super().train(False)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        self.loaded = self.loaded or any(k.startswith(prefix) for k in state_dict)
        if not self.saved:  # what is left out is not missing
            for name, child in self.named_children():
                for key, value in child.state_dict(prefix=f'{prefix}{name}.').items():
                    state_dict.setdefault(key, value)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _leave_out(module: nn.Module, state: dict, prefix: str, metadata: dict) -> None:
    if not module.saved:
        for name in [k for k in state if k.startswith(prefix)]:
            del state[name]
