"""Targets between the truth and what a trained model predicts (DeepMIM, 2303.08817)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mim_zoo.registry import MODELS

from .base import Frozen, Target

if TYPE_CHECKING:
    from ..corruption import Plan
    from ..mim import MIM


class Generator(Frozen):
    """A trained model, whose predictions are wanted and whose weights are in a file."""

    saved = False

    def __init__(self, model: dict, checkpoint: str):
        super().__init__()
        self.model: MIM = MODELS.build(model)
        self.checkpoint = checkpoint
        self.loaded = False
        self.freeze()

    def load(self) -> None:
        """Read all weights, once."""
        from mim_zoo.engine.loading import load_weights

        if not self.loaded:
            load_weights(self.model, self.checkpoint, min_share=1.0)
            self.loaded = True

    def forward(self, images: Tensor, plan: 'Plan') -> Tensor:
        """What its last decoder predicts (V, L, D) from the patches that are seen."""
        return self.model.decode(images, plan.given, plan.num_hidden)[0][-1]


@MODELS.register_module()
class HybridTarget(Target):
    """Easier targets for shallower outputs: alpha x truth + (1 - alpha) x generator.

    The generator is a frozen model that was trained on the same ``target``, and sees
    the same patches (DeepMIM, 2303.08817). The mixture is made in the space of that
    target, normalised or not, and not normalised again.

    Args:
        target: config of the true target.
        generator: config of the trained model (``type='MAE'`` and so on).
        checkpoint: file of its weights.
        alphas: one per output of the neck, shallow ones first; by default evenly from 0
            to 1: the published 0, 1/3, 2/3, 1 of four.
        **facts: of ``Target``, handed down by ``MIM``.
    """

    target: Target

    def __init__(
        self,
        target: dict,
        generator: dict,
        checkpoint: str,
        alphas: Sequence[float] | None = None,
        **facts: Any,
    ):
        super().__init__(**facts)
        if alphas is None and self.outputs > 1:
            alphas = torch.linspace(0, 1, self.outputs, device='cpu').tolist()
        self.alphas = list(alphas or ())
        possible = all(0 <= alpha <= 1 for alpha in self.alphas)
        if len(self.alphas) != self.outputs or not possible:
            raise ValueError(
                f'HybridTarget: got alphas={alphas}, expected one in [0, 1] for each '
                f'of {self.outputs} outputs of the neck'
            )
        self.target = MODELS.build(target, default_args=facts)
        self.generator = Generator(generator, checkpoint)
        mine, theirs = (
            (type(t).__name__, getattr(t, 'normalize', None), t.dim, t.stride)
            for t in (self.target, self.generator.model.heads[0].target)
        )
        if mine != theirs:
            raise ValueError(
                'HybridTarget: got a generator whose target (class, normalize, values, '
                f'pixels of a patch) is {theirs}, expected {mine} as target says'
            )
        self.dim = self.target.dim
        self.drawable = self.target.drawable
        self.caption = getattr(self.target, 'caption', '')

    def load(self) -> None:
        """Read the generator's weights, once."""
        self.target.load()
        self.generator.load()

    def forward(self, images: Tensor) -> Tensor:
        """The true target (B, L, D)."""
        return self.target(images)

    @torch.no_grad()
    def for_outputs(self, images: Tensor, plan: 'Plan') -> list[Tensor]:
        """One mixture (V, L, D) per output of the neck."""
        self.load()
        truth = plan.align(self.target(images))
        if min(self.alphas) == 1:
            return [truth] * self.outputs
        guess = self.generator(images, plan).float()
        if guess.shape != truth.shape:
            raise ValueError(
                f'HybridTarget: got predictions {tuple(guess.shape)} of the generator, '
                f'expected {tuple(truth.shape)}: it must hide patches as the trained '
                'model does (corruption) and predict no class token'
            )
        return [guess + alpha * (truth - guess) for alpha in self.alphas]

    def invert(self, pred: Tensor, images: Tensor) -> Tensor:
        """That of the true target: the last output predicts it where its alpha is 1."""
        return self.target.invert(pred, images)
