"""Who calls which weight what: one table, read in both directions.

Formats: ``ours``; ``mae``, the official code (2111.06377); ``timm``; ``mmpretrain``,
which mmselfsup and mmcls share. Encoders and fine-tuned models of ``mae`` and ``timm``
have the same names, and are called ``timm`` here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

StateDict = dict[str, Tensor]
Rows = tuple[tuple, ...]

FORMATS = ('ours', 'mae', 'timm', 'mmpretrain')

_TOKEN = ('',)
_LAYER = ('.weight', '.bias')
_STATISTICS = ('.running_mean', '.running_var', '.num_batches_tracked')

# ours, mae, timm, mmpretrain, what hangs below; None: the format has no such thing
_ENCODER: Rows = (
    ('backbone.cls_token', 'cls_token', 'cls_token', 'backbone.cls_token', _TOKEN),
    ('backbone.pos_embed', 'pos_embed', 'pos_embed', 'backbone.pos_embed', _TOKEN),
    (
        'backbone.patch_embed.proj',
        'patch_embed.proj',
        'patch_embed.proj',
        'backbone.patch_embed.projection',
        _LAYER,
    ),
    ('backbone.norm', 'norm', 'norm', 'backbone.ln1', _LAYER),
)
_DECODER: Rows = (
    ('head.decoders.0.embed', 'decoder_embed', None, 'neck.decoder_embed', _LAYER),
    ('head.decoders.0.mask_token', 'mask_token', None, 'neck.mask_token', _TOKEN),
    (
        'head.decoders.0.pos_embed',
        'decoder_pos_embed',
        None,
        'neck.decoder_pos_embed',
        _TOKEN,
    ),
    ('head.decoders.0.norm', 'decoder_norm', None, 'neck.ln1', _LAYER),
    ('head.decoders.0.pred', 'decoder_pred', None, 'neck.decoder_pred', _LAYER),
)
# Three kinds of classifier: fine-tuned on the mean of the patches (with fc_norm),
# linear probe (with bn), class token.
_FINE_TUNED: Rows = (
    ('fc_norm', 'fc_norm', 'fc_norm', 'backbone.ln2', _LAYER),
    ('head', 'head', 'head', 'head.fc', _LAYER),
)
_PROBE: Rows = (
    ('bn', 'head.0', None, 'neck.bn', _STATISTICS),
    ('head', 'head.1', 'head', 'head.layers.head', _LAYER),
)
_CLASS_TOKEN: Rows = (('head', 'head', 'head', 'head.layers.head', _LAYER),)

_BLOCKS: Rows = (
    ('backbone.blocks', 'blocks', 'blocks', 'backbone.layers'),
    ('head.decoders.0.blocks', 'decoder_blocks', None, 'neck.decoder_blocks'),
)
_IN_BLOCK = (
    ('norm1', 'norm1', 'norm1', 'ln1'),
    ('attn.qkv', 'attn.qkv', 'attn.qkv', 'attn.qkv'),
    ('attn.proj', 'attn.proj', 'attn.proj', 'attn.proj'),
    ('norm2', 'norm2', 'norm2', 'ln2'),
    ('mlp.fc1', 'mlp.fc1', 'mlp.fc1', 'ffn.layers.0.0'),
    ('mlp.fc2', 'mlp.fc2', 'mlp.fc2', 'ffn.layers.1'),
)

_SIGNS = (  # the first that any name matches decides
    ('ours', re.compile(r'backbone\.blocks\.\d+\.norm1\.')),
    ('mmpretrain', re.compile(r'(backbone\.)?layers\.\d+\.(ln1|attn\.qkv)\.')),
    ('mae', re.compile(r'decoder_blocks\.\d+\.norm1\.|head\.1\.')),
    ('timm', re.compile(r'blocks\.\d+\.norm1\.')),
)
# Unknown names that would change what the encoder computes if they were dropped.
_ESSENTIAL = re.compile(
    r'(backbone\.)?(blocks|layers|patch_embed|cls|dist|reg|pos|norm_pre|pre_norm)'
)


@dataclass(frozen=True)
class Conversion:
    """A renamed state dict; ``folded`` went into other weights, ``dropped`` is lost."""

    state: StateDict
    source: str
    dropped: list[str] = field(default_factory=list)
    folded: list[str] = field(default_factory=list)


def guess_format(names: Iterable[str]) -> str | None:
    """The format that uses such names, None if it is none of ours to know."""
    names = list(names)
    for name, sign in _SIGNS:
        if any(sign.match(n) for n in names):
            return name
    return None


def recognise(names: Iterable[str]) -> str:
    """The format that uses such names; ValueError if it is unknown."""
    names = list(names)
    found = guess_format(names)
    if found is None:
        raise ValueError(
            f'Unknown weights: the first names are {", ".join(names[:6])}. Known are '
            'plain ViTs of mim_zoo, of the official MAE code, of timm, and of '
            'mmpretrain or mmselfsup.'
        )
    return found


def to_ours(state: Mapping[str, Tensor]) -> Conversion:
    """Any known format to ours; ValueError for an encoder that is not a plain ViT."""
    source = recognise(state)
    if source == 'ours':
        return Conversion(dict(state), source)
    if source == 'mmpretrain' and not any(k.startswith('backbone.') for k in state):
        state = {f'backbone.{k}': v for k, v in state.items()}  # an extracted backbone
    kinds = (_PROBE, _CLASS_TOKEN, _FINE_TUNED)
    known = {
        theirs: ours
        for kind in kinds
        for ours, theirs in _pairs(source, state, kind).items()
    }
    unknown = [name for name in state if name not in known]
    if essential := [name for name in unknown if _ESSENTIAL.match(name)]:
        raise ValueError(
            'Not a plain ViT as MAE trains it: no place for '
            f'{", ".join(essential[:6])} ({len(essential)} such weights).'
        )
    renamed = {known[name]: v for name, v in state.items() if name in known}
    return Conversion(renamed, source, unknown)


def from_ours(state: Mapping[str, Tensor], target: str) -> Conversion:
    """Our names to those of ``target``.

    timm has no BatchNorm before its head: that of a linear probe is folded into it.
    """
    if target not in FORMATS:
        raise ValueError(f'target: got {target!r}, expected one of {FORMATS}')
    if target == 'ours':
        return Conversion(dict(state), 'ours')
    kind = _CLASS_TOKEN
    if 'fc_norm.weight' in state:
        kind = _FINE_TUNED
    elif 'bn.running_mean' in state:
        kind = _PROBE
    folded: list[str] = []
    if target == 'timm' and kind is _PROBE:
        folded = [name for name in state if name.startswith('bn.')]
        state = _fold_batch_norm(state)
    known = _pairs(target, state, kind)
    renamed = {known[name]: v for name, v in state.items() if name in known}
    dropped = [name for name in state if name not in known]
    return Conversion(renamed, 'ours', dropped, folded)


def convert(
    state: Mapping[str, Tensor], target: str = 'ours', backbone_only: bool = False
) -> Conversion:
    """Any known format to any other, by way of ours."""
    first = to_ours(state)
    ours, removed = first.state, []
    if backbone_only:
        removed = [name for name in ours if not name.startswith('backbone.')]
        ours = {k: v for k, v in ours.items() if k not in removed}
    second = from_ours(ours, target)
    dropped = first.dropped + removed + second.dropped
    return Conversion(second.state, first.source, dropped, second.folded)


def _pairs(form: str, state: Mapping[str, Tensor], kind: Rows) -> dict[str, str]:
    """{our name: their name} of every weight that a model of this kind can have."""
    column = FORMATS.index(form)
    indices = [int(i) for k in state for i in re.findall(r'\.(\d+)\.', f'.{k}')]
    rows = [*_ENCODER, *_DECODER, *kind]
    pairs = {
        row[0] + leaf: row[column] + leaf
        for row in rows
        if row[column] is not None
        for leaf in row[-1]
    }
    for block in _BLOCKS:
        if block[column] is None:
            continue
        for i in range(max(indices, default=-1) + 1):
            for part in _IN_BLOCK:
                for leaf in _LAYER:
                    ours = f'{block[0]}.{i}.{part[0]}{leaf}'
                    pairs[ours] = f'{block[column]}.{i}.{part[column]}{leaf}'
    return pairs


def _fold_batch_norm(state: Mapping[str, Tensor], eps: float = 1e-6) -> StateDict:
    """The head that does by itself what BatchNorm (without affine) and head do."""
    mean, variance = state['bn.running_mean'].double(), state['bn.running_var'].double()
    weight = state['head.weight'].double() * torch.rsqrt(variance + eps)
    bias = state['head.bias'].double() - weight @ mean
    rest = {k: v for k, v in state.items() if not k.startswith('bn.')}
    like = state['head.weight']
    return {**rest, 'head.weight': weight.to(like), 'head.bias': bias.to(like)}
