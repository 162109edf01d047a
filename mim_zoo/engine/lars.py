"""LARS, with the rules of the official linear probes."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class LARS(Optimizer):
    """Layer-wise adaptive rate scaling (1708.03888) as the MAE linear probe runs it.

    A parameter of two or more dimensions has its (decayed) gradient scaled to
    ``trust_coefficient`` times its own norm; one of fewer dimensions, a bias, takes the
    plain gradient, without weight decay. The momentum buffer holds these directions,
    not steps, so that a changed learning rate acts at once:

        buffer <- momentum * buffer + direction;  parameter <- parameter - lr * buffer

    Raises ValueError when an argument is negative.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
    ) -> None:
        defaults = dict(
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            trust_coefficient=trust_coefficient,
        )
        for name, value in defaults.items():
            if value < 0:
                raise ValueError(f'LARS: {name} must be 0 or more, got {value}.')
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group['params']:
                if param.grad is None:
                    continue
                state = self.state[param]
                if not state:
                    state['momentum_buffer'] = torch.zeros_like(param)
                buffer = state['momentum_buffer']
                buffer.mul_(group['momentum']).add_(_direction(param, group))
                param.add_(buffer, alpha=-group['lr'])
        return loss


def _direction(param: Tensor, group: dict[str, Any]) -> Tensor:
    """The gradient, decayed and scaled to the parameter's norm if it is a matrix."""
    grad: Tensor = param.grad  # type: ignore[assignment]
    if param.ndim <= 1:
        return grad
    grad = grad.add(param, alpha=group['weight_decay'])
    norm, grad_norm = param.norm(), grad.norm()
    ratio = group['trust_coefficient'] * norm / grad_norm
    usable = (norm > 0) & (grad_norm > 0)  # no branch: the norms stay on the device
    return grad * torch.where(usable, ratio, torch.ones_like(ratio))
