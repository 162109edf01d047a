"""Parameter groups: who is decayed, and how fast each depth of the encoder learns."""

from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from torch import nn

from ..registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from .sharding import is_sharded

BACKBONE = 'backbone.'
FUSED_DEVICES = ('cpu', 'cuda')
FUSED_OPTIMIZERS = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
# what encoders may be built without
OPTIONAL = ('cls_token', 'pos_embed')
# the groups of what is in no layer: after the last block, or all without layer decay
TOP, REST = 'top', 'backbone'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor:
    """Build the optimizer with one parameter group per (encoder layer, decayed or not).

    ``paramwise_cfg`` holds

    - ``layer_decay_rate`` (1.0): the learning rate of layer ``i`` of ``n`` is
      ``lr * rate ** (n - 1 - i)``, where ``(i, n)`` is what the backbone's
      ``get_layer_depth(name, 'backbone.')`` says; outside the backbone it is ``lr``;
    - ``backbone_lr_mult`` (1.0): times this, for all of the backbone; at 0 its weights
      stay as they are (unless a scheduler's ``eta_min`` is a floor above 0), but the
      ``frozen_stages`` of an encoder do so at less cost;
    - ``head_with_last_block`` (False): the final norm and all outside the backbone
      learn as fast as the last block, ``lr * rate``, and nothing at ``lr``, as in the
      official fine-tuning of MixMIM (2205.13137);
    - ``no_decay_names`` (()): parameters, by the end of their dotted name
      ('pos_embed', 'backbone.cls_token'), that are not decayed. Biases and parameters
      of one dimension never are, which alone is MAE's rule for pre-training; its
      fine-tuning adds ``('pos_embed', 'cls_token')`` (2111.06377), which an encoder
      may lack.

    Frozen parameters are left out. PyTorch's Adam, AdamW and SGD update all in one
    kernel on CPUs and CUDA, unless ``fused`` or ``foreach`` say otherwise.
    ``CosineAnnealingLR(eta_min_ratio=...)`` then gives each layer its own floor, as
    officially; ``eta_min`` one floor for all. Raises ValueError for an unknown key, a
    rate outside (0, 1], a ``backbone_lr_mult`` below 0, ``head_with_last_block``
    without layers that learn more slowly, a name that matches nothing, and a model
    without layers to decay or a backbone to slow down.
    """

    def __init__(
        self,
        optim_wrapper_cfg: dict[str, Any],
        paramwise_cfg: dict[str, Any] | None = None,
    ) -> None:
        rules = dict(paramwise_cfg or {})
        self.rate = float(rules.pop('layer_decay_rate', 1.0))
        self.backbone_lr_mult = float(rules.pop('backbone_lr_mult', 1.0))
        with_last_block = rules.pop('head_with_last_block', False)
        self.no_decay_names = tuple(rules.pop('no_decay_names', ()))
        if rules:
            raise ValueError(
                f'LayerDecayConstructor: unknown paramwise_cfg key(s) {sorted(rules)}; '
                'it knows layer_decay_rate, backbone_lr_mult, head_with_last_block '
                'and no_decay_names.'
            )
        if not 0 < self.rate <= 1:
            raise ValueError(
                f'layer_decay_rate must be above 0 and at most 1, got {self.rate}.'
            )
        if self.backbone_lr_mult < 0:
            raise ValueError(
                f'backbone_lr_mult must be at least 0, got {self.backbone_lr_mult}.'
            )
        self.by_layer = self.rate < 1 or self.backbone_lr_mult != 1
        self.top_distance = _top_distance(with_last_block, self.rate)
        if 'optimizer' not in optim_wrapper_cfg:
            raise ValueError('LayerDecayConstructor: optim_wrapper has no "optimizer".')
        self.wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = dict(self.wrapper_cfg.pop('optimizer'))
        if self.by_layer and 'lr' not in self.optimizer_cfg:
            raise ValueError(
                'layer_decay_rate and backbone_lr_mult need optim_wrapper.optimizer.lr.'
            )

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Return the optimizer wrapper for the model's trainable parameters."""
        if is_model_wrapper(model):
            model = model.module  # type: ignore[assignment]
        groups = self.param_groups(model)
        settings = {**fused_if_possible(self.optimizer_cfg, model), 'params': groups}
        optimizer = OPTIMIZERS.build(settings)
        wrapper = {'type': 'OptimWrapper', **self.wrapper_cfg, 'optimizer': optimizer}
        return OPTIM_WRAPPERS.build(wrapper)

    def param_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Group the trainable parameters, shallow layers first, and log a table."""
        self._check_backbone(model)
        self._check_names(model)
        groups: dict[tuple[int | str, bool], list[nn.Parameter]] = {}
        scales: dict[int | str, float] = {}
        for name, param in model.named_parameters():
            if param.requires_grad:
                layer, scale = self._layer(model, name)
                scales[layer] = scale
                key = (layer, self._decays(name, param))
                groups.setdefault(key, []).append(param)
        if not groups:
            raise ValueError('the model has no trainable parameter: all are frozen.')
        keys = sorted(groups, key=lambda key: (scales[key[0]], key[1]))
        settings = []
        for layer, decays in keys:
            setting: dict[str, Any] = {'params': groups[layer, decays]}
            if self.by_layer:
                setting['lr'] = self.optimizer_cfg['lr'] * scales[layer]
            if not decays:
                setting['weight_decay'] = 0.0
            settings.append(setting)
        _log_table([(layer, scales[layer], decays) for layer, decays in keys], settings)
        return settings

    def _check_backbone(self, model: nn.Module) -> None:
        backbone = getattr(model, 'backbone', None)
        if self.rate < 1 and not hasattr(backbone, 'get_layer_depth'):
            raise ValueError(
                f'layer_decay_rate={self.rate} needs a model with a backbone that has '
                f'get_layer_depth(name, prefix); {type(model).__name__} has none.'
            )
        if self.by_layer and backbone is None:
            raise ValueError(
                f'backbone_lr_mult={self.backbone_lr_mult} needs a model with a '
                f'backbone; {type(model).__name__} has none.'
            )

    def _check_names(self, model: nn.Module) -> None:
        names = [name for name, _ in model.named_parameters()]
        for rule in self.no_decay_names:
            optional = rule.rsplit('.', 1)[-1] in OPTIONAL
            if not optional and not any(_ends_with(name, rule) for name in names):
                raise ValueError(
                    f'no_decay_names: "{rule}" is the end of no parameter name of '
                    f'{type(model).__name__}; correct it or take it out. '
                    f'Names look like {names[:3]}.'
                )

    def _decays(self, name: str, param: nn.Parameter) -> bool:
        if param.ndim <= 1 or _ends_with(name, 'bias'):
            return False
        return not any(_ends_with(name, rule) for rule in self.no_decay_names)

    def _layer(self, model: nn.Module, name: str) -> tuple[int | str, float]:
        """Layer id (TOP, REST where there is none), and the scale of its rate."""
        if not self.by_layer or not name.startswith(BACKBONE):
            return TOP, self.rate**self.top_distance
        if self.rate < 1:
            backbone: Any = model.backbone
            layer, num_layers = backbone.get_layer_depth(name, BACKBONE)
            if distance := num_layers - 1 - layer:
                return layer, self.backbone_lr_mult * self.rate**distance
        scale = self.backbone_lr_mult * self.rate**self.top_distance
        return TOP if self.backbone_lr_mult == 1 else REST, scale


def fused_if_possible(optimizer_cfg: dict[str, Any], model: nn.Module) -> dict:
    """The settings, with ``fused=True`` if this optimizer has it for these devices."""
    kind = optimizer_cfg.get('type')
    found = OPTIMIZERS.get(kind) if isinstance(kind, str) else kind
    decided = {'fused', 'foreach', 'differentiable'} & optimizer_cfg.keys()
    params = [p for p in model.parameters() if p.requires_grad]
    able = all(p.device.type in FUSED_DEVICES and p.is_floating_point() for p in params)
    if found is torch.optim.SGD and is_sharded(model):
        able = False  # PyTorch has no fused SGD for sharded tensors
    if decided or not able or found not in FUSED_OPTIMIZERS:
        return optimizer_cfg
    return {**optimizer_cfg, 'fused': True}


def _top_distance(with_last_block: Any, rate: float) -> int:
    """By how many layers the top learns more slowly than at the full rate."""
    if not isinstance(with_last_block, bool):
        raise ValueError(
            f'head_with_last_block: got {with_last_block!r}, expected True or False.'
        )
    if with_last_block and rate == 1:
        raise ValueError(
            'head_with_last_block=True needs a layer_decay_rate below 1, got 1.0: all '
            'layers learn at the same rate. Set layer_decay_rate, or leave it False.'
        )
    return int(with_last_block)


def _ends_with(name: str, rule: str) -> bool:
    """Whether the last dotted components of ``name`` are ``rule``."""
    return f'.{name}'.endswith(f'.{rule}')


def _log_table(
    rows: list[tuple[int | str, float, bool]], settings: list[dict[str, Any]]
) -> None:
    lines = ['Parameter groups:  layer  lr scale  decayed  tensors      values']
    for (layer, scale, decays), setting in zip(rows, settings):
        params = setting['params']
        lines.append(
            f'{layer:>24}  {scale:8.2e}  '
            f'{"yes" if decays else "no":>7}  {len(params):7d}  '
            f'{sum(p.numel() for p in params):10,d}'
        )
    print_log('\n'.join(lines), logger='current')
