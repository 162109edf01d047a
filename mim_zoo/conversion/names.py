"""Weights of one format in the names, and in the order, of another.

Formats: ``ours``; ``mae``, the official code (2111.06377); ``timm``; ``mmpretrain``,
which mmselfsup and mmcls share; ``mixmim``, ``deepmim``, ``dbot``, the official codes
(2205.13137, 2303.08817, 2209.03917), where symmetric models of dBOT are as BEiT's. What
each calls a weight stands in the tables of the families of encoders.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .beit import BEIT
from .family import Family, StateDict
from .mixmim import MIXMIM
from .plain import PLAIN
from .pooling import check_place, known_pool, pool_of, usual_pool

TITLES = {
    'ours': 'mim_zoo',
    'mae': 'official MAE',
    'timm': 'timm, or official MAE, DeepMIM or dBOT',
    'mmpretrain': 'mmpretrain',
    'mixmim': 'official MixMIM',
    'deepmim': 'official DeepMIM',
    'dbot': 'official dBOT',
}
FORMATS = tuple(TITLES)
# The plain ones last: the others have names of theirs, too.
FAMILIES: tuple[Family, ...] = (MIXMIM, BEIT, PLAIN)

_FILTER = re.compile(r'target_generator\.low_pass_filter')  # PixMIM's, of its radius
# What other weights of ours would compute something else without.
_NEEDED_BY = (
    (r'fc_norm\.', 'head.weight'),
    (r'neck\.fusions\.', 'head.decoders.'),
    # the first of several decoders is that of the shallowest blocks
    (r'head\.decoders\.', 'head.decoders.'),
    (r'corruption\.token', 'head.decoders.'),
    # of mixed images alone: an encoder of whole ones needs none
    (r'backbone\.layers\.\d+\.group_embed', 'head.decoders.0.'),
)


@dataclass(frozen=True)
class Conversion:
    """A renamed state dict.

    ``folded`` went into other weights, ``derived`` follows from the others or from the
    model's arguments, ``idle`` are those of which a part is lost that did nothing,
    ``dropped`` is lost. ``pool``: how a classifier pools, if it is known.
    """

    state: StateDict
    source: str
    dropped: list[str] = field(default_factory=list)
    folded: list[str] = field(default_factory=list)
    derived: list[str] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)
    pool: str | None = None


def guess_format(names: Iterable[str]) -> str | None:
    """The format that uses such names, None if it is none of ours to know."""
    found = _guess(names)
    return found and found[1]


def recognise(names: Iterable[str]) -> str:
    """The format that uses such names; ValueError if it is unknown."""
    return _recognise(names)[1]


def family_of(state: Mapping[str, Tensor]) -> Family:
    """The family of the encoder in ``state`` (our names); ValueError without one."""
    return _recognise(state)[0]


def to_ours(state: Mapping[str, Tensor]) -> Conversion:
    """Any known format to ours; ValueError for an encoder we do not have."""
    family, source = _recognise(state)
    if source == 'ours':
        return Conversion(dict(state), source)
    if source == 'mmpretrain' and not any(k.startswith('backbone.') for k in state):
        state = {f'backbone.{k}': v for k, v in state.items()}  # an extracted backbone
    state = family.unpack(source, state)
    known = family.theirs_to_ours(state, source)
    rest = [name for name in state if name not in known]
    _check_encoder(family, rest, set(known.values()))
    ours = {known[name]: value for name, value in state.items() if name in known}
    derived = [name for name in rest if _FILTER.fullmatch(name)]
    for name, value in family.derive(ours).items():
        if name in ours:
            if not torch.equal(ours.pop(name), value):
                raise ValueError(
                    f'{name}: got other values than those of Swin and BEiT; such '
                    'an encoder would compute something else here'
                )
            derived.append(name)
    unknown = [name for name in rest if name not in derived]
    pool = usual_pool(ours) if 'head.weight' in ours else None
    return Conversion(ours, source, unknown, derived=derived, pool=pool)


def from_ours(
    state: Mapping[str, Tensor], target: str, pool: str | None = None
) -> Conversion:
    """Our names to those of ``target``.

    timm and the official MixMIM have no BatchNorm before their head: that of a linear
    probe is folded into it. ValueError if the format has no place for such an encoder,
    for such a pooling, or for something that what it does have a place for needs.
    ``pool``: of a classifier, whose weights may leave it open (``pool_of``).
    """
    if target not in FORMATS:
        raise ValueError(f'target: got {target!r}, expected one of {FORMATS}')
    if target == 'ours':
        return Conversion(dict(state), 'ours', pool=known_pool(state, pool))
    family = family_of(state)
    family.check_format(target)
    pool = pool_of(state, pool)
    check_place(state, target, pool)
    state = {**state, **family.derive(state)}
    known = family.ours_to_theirs(state, target)
    folded: list[str] = []
    if 'bn.running_mean' in state.keys() - known.keys() and 'head.weight' in known:
        folded = [name for name in state if name.startswith('bn.')]
        state = _fold_batch_norm(state)
    dropped = [name for name in state if name not in known]
    _check_whole(dropped, known, target)
    _check_encoder_fits(family, dropped, target)
    theirs = {known[name]: value for name, value in state.items() if name in known}
    theirs, idle = family.pack(target, theirs), family.idle(target, state)
    return Conversion(theirs, 'ours', dropped, folded, idle=idle, pool=pool)


def convert(
    state: Mapping[str, Tensor],
    target: str = 'ours',
    backbone_only: bool = False,
    pool: str | None = None,
) -> Conversion:
    """Any known format to any other, by way of ours; ``pool`` as in ``from_ours``."""
    first = to_ours(state)
    ours, removed = first.state, []
    if backbone_only:
        removed = [name for name in ours if not name.startswith('backbone.')]
        ours = {k: v for k, v in ours.items() if k not in removed}
    second = from_ours(ours, target, pool or first.pool)
    dropped = first.dropped + removed + second.dropped
    made_again = set() if target == 'ours' else family_of(ours).derive(ours).keys()
    derived = [name for name in first.derived if name not in made_again]
    return replace(second, source=first.source, dropped=dropped, derived=derived)


def _guess(names: Iterable[str]) -> tuple[Family, str] | None:
    names = list(names)
    for family in FAMILIES:
        form = family.guess(names)
        if form is not None:
            return family, form
    return None


def _recognise(names: Iterable[str]) -> tuple[Family, str]:
    names = list(names)
    found = _guess(names)
    if found is None:
        raise ValueError(
            f'Unknown weights: the first names are {", ".join(names[:6])}. Known are '
            'plain ViTs of mim_zoo, of the official MAE, DeepMIM and dBOT codes, of '
            'timm, and of mmpretrain or mmselfsup; MixMIM of mim_zoo, of the official '
            'code and of mmpretrain.'
        )
    return found


def _check_encoder(family: Family, unknown: list[str], found: set[str]) -> None:
    """ValueError if an encoder has parts that ours has not, or the other way round."""
    if essential := [name for name in unknown if re.match(family.essential, name)]:
        raise ValueError(
            f'Not {family.title}: no place for {", ".join(essential[:6])} '
            f'({len(essential)} such weights).'
        )
    if missing := [name for name in family.needed if name not in found]:
        raise ValueError(
            f'Not {family.title}: expected weights that are {", ".join(missing)} in '
            'our names.'
        )


def _check_encoder_fits(family: Family, dropped: list[str], target: str) -> None:
    """ValueError if an encoder would compute something else without what is dropped."""
    own = [name for name in dropped if name.startswith('backbone.')]
    if lost := [name for name in own if re.match(family.essential, name)]:
        raise ValueError(
            f'{target} has no place for {lost[0]} ({len(lost)} such weights), without '
            'which the encoder would compute something else; keep it in our names'
        )


def _check_whole(dropped: Iterable[str], kept: Mapping[str, str], target: str) -> None:
    """ValueError if weights go without which those that stay compute something else."""
    for part, user in _NEEDED_BY:
        lost = [name for name in dropped if re.match(part, name)]
        if lost and any(name.startswith(user) for name in kept):
            raise ValueError(
                f'{target} has no place for {lost[0]} ({len(lost)} such weights), '
                f'without which {user}* would compute something else; convert the '
                'encoder alone (--backbone-only)'
            )


def _fold_batch_norm(state: Mapping[str, Tensor], eps: float = 1e-6) -> StateDict:
    """The head that does by itself what BatchNorm (without affine) and head do."""
    mean, variance = state['bn.running_mean'].double(), state['bn.running_var'].double()
    weight = state['head.weight'].double() * torch.rsqrt(variance + eps)
    bias = state['head.bias'].double() - weight @ mean
    rest = {k: v for k, v in state.items() if not k.startswith('bn.')}
    like = state['head.weight']
    return {**rest, 'head.weight': weight.to(like), 'head.bias': bias.to(like)}
