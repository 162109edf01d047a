"""Blocks compiled one by one instead of a whole model at once."""

from __future__ import annotations

from typing import Any

import torch._dynamo
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mim_zoo.models.layers import blocks_of
from mim_zoo.registry import HOOKS

# of the compiled forms of one piece of code; the second is the name before PyTorch 2.6
LIMITS = ('recompile_limit', 'cache_size_limit')
FORMS = 2  # of a block: in training and in evaluation


def compile_blocks(model: nn.Module, **options: Any) -> int:
    """Compile all blocks of encoders and decoders in place; how many there are.

    ``options`` are those of ``torch.compile``. Blocks alike share what was compiled;
    those with a drop path rate of their own do not, for which PyTorch's limit is
    raised. Names, weights and what is saved stay as they are. Raises ValueError for a
    model without blocks.
    """
    blocks = blocks_of(model)
    if not blocks:
        raise ValueError(
            f'{type(model).__name__} has no blocks to compile, expected an encoder or '
            "decoder of mim_zoo; compile the whole model with MMEngine's compile=True"
        )
    config: Any = torch._dynamo.config
    limit = next(name for name in LIMITS if hasattr(config, name))
    setattr(config, limit, max(getattr(config, limit), FORMS * len(blocks)))
    for block in blocks:
        block.compile(**options)
    return len(blocks)


@HOOKS.register_module()
class CompileBlocksHook(Hook):
    """Compiles the model's blocks before training, see ``compile_blocks``.

    ``custom_hooks = [dict(type='CompileBlocksHook')]``; the first step, and the first
    evaluation, take the time of compiling. The arguments are those of
    ``torch.compile``.
    """

    def __init__(
        self,
        backend: str = 'inductor',
        mode: str | None = None,
        fullgraph: bool = False,
        dynamic: bool | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.options = dict(
            backend=backend,
            mode=mode,
            fullgraph=fullgraph,
            dynamic=dynamic,
            options=options,
        )

    def before_train(self, runner: Runner) -> None:
        """Compile; the code itself is made when it first runs."""
        count = compile_blocks(runner.model, **self.options)
        runner.logger.info(
            f'{count} blocks are compiled by {self.options["backend"]} when they first '
            'run.'
        )
