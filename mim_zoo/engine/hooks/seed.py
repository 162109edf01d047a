"""Randomness of a training step as a function of (seed, rank, iteration)."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mim_zoo.registry import HOOKS

_MASK = (1 << 64) - 1


def mixed_seed(*numbers: int) -> int:
    """Hash integers to 63 bits, such that neighbours give unrelated seeds."""
    state = 0
    for number in numbers:  # splitmix64, chained
        state = (state + (number & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def seed_everything(seed: int) -> None:
    """Seed torch (CPU, and CUDA if it is in use), numpy and random, without a sync."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    random.seed(seed)


@HOOKS.register_module()
class SeedHook(Hook):
    """Seeds every training iteration, so that resuming needs no saved RNG state.

    What draws before (data, validation, other hooks) then changes nothing.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Seed from the run's seed, this process and the iteration."""
        seed_everything(mixed_seed(runner.seed, runner.rank, runner.iter))
