"""Mixed precision: bf16 unless told otherwise, plain fp32 where it cannot run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.optim import Optimizer

from ..registry import OPTIM_WRAPPERS

DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}
# Autocast and mixed precision pay on these; elsewhere a step stays in fp32.
ACCELERATORS = ('cuda', 'npu', 'mlu', 'musa', 'xpu')


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """Run the forward pass in ``dtype``, keeping weights and updates in fp32.

    'bfloat16' has the range of fp32 and needs no loss scaling; 'float16' goes with a
    ``GradScaler``, whose state is saved, and starts at ``loss_scale`` ('dynamic': its
    default). Without an accelerator it warns once and trains in fp32, so that one
    config serves both. Raises ValueError for another dtype or loss scale.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        dtype: str | torch.dtype = 'bfloat16',
        loss_scale: str | float = 'dynamic',
        accumulative_counts: int = 1,
        clip_grad: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(optimizer, accumulative_counts, clip_grad)
        self.dtype = _checked_dtype(dtype)
        self.device_type = get_device()
        self.enabled = self.device_type in ACCELERATORS
        self.scaler: torch.amp.GradScaler | None = None
        if not self.enabled:
            _warn(
                f'AmpOptimWrapper: no accelerator that runs mixed precision (device '
                f'"{self.device_type}"): training in fp32.'
            )
            return
        if self.dtype == torch.float16:
            self.scaler = _scaler(self.device_type, loss_scale)
        elif _emulates_bfloat16(self.device_type):
            _warn(
                'AmpOptimWrapper: this GPU only emulates bfloat16, slowly; '
                "set optim_wrapper.dtype='float16'."
            )

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Add autocast to the context of a training step."""
        with (
            super().optim_context(model),
            torch.autocast(
                self.device_type if self.enabled else 'cpu',
                dtype=self.dtype if self.enabled else None,
                enabled=self.enabled,
            ),
        ):
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Back-propagate, the loss scaled in fp16."""
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        super().backward(scaled, **kwargs)

    def step(self, **kwargs: Any) -> None:
        """Clip if asked and update; in fp16 an overflowing step is skipped."""
        if self.scaler is None:
            super().step(**kwargs)
            return
        if self.clip_grad_kwargs:
            self.scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Add the loss scaler's state in fp16, under MMEngine's key."""
        state = super().state_dict()
        if self.scaler is not None:
            state['loss_scaler'] = self.scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from a run in any precision; a scaler's state is used in fp16 only."""
        state = dict(state_dict)
        scaler_state = state.pop('loss_scaler', None)
        if self.scaler is not None and scaler_state:
            self.scaler.load_state_dict(scaler_state)
        super().load_state_dict(state)


def _checked_dtype(dtype: str | torch.dtype) -> torch.dtype:
    found = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if found is None or found not in DTYPES.values():
        raise ValueError(
            f'AmpOptimWrapper: dtype must be one of {sorted(DTYPES)}, got {dtype!r}; '
            'for fp32 use type="OptimWrapper".'
        )
    return found


def _scaler(device_type: str, loss_scale: str | float) -> torch.amp.GradScaler:
    if loss_scale == 'dynamic':
        return torch.amp.GradScaler(device_type)
    if isinstance(loss_scale, str) or loss_scale <= 0:
        raise ValueError(
            'AmpOptimWrapper: loss_scale must be "dynamic" or the positive scale to '
            f'start from, got {loss_scale!r}.'
        )
    return torch.amp.GradScaler(device_type, init_scale=float(loss_scale))


def _emulates_bfloat16(device_type: str) -> bool:
    """True on an NVIDIA GPU older than Ampere."""
    return (
        device_type == 'cuda'
        and torch.version.hip is None
        and torch.cuda.get_device_capability() < (8, 0)
    )


def _warn(message: str) -> None:
    print_log(message, logger='current', level=30)
