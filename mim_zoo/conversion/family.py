"""What the formats call the weights of one family of encoders, in both directions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from mim_zoo.models.encoder import Encoder
from mim_zoo.models.layers import Size, cells, pair
from mim_zoo.models.positions import stored_grid
from mim_zoo.models.windows import window_of

StateDict = dict[str, Tensor]

LAYER = ('.weight', '.bias')
TOKEN = ('',)
STATISTICS = ('.running_mean', '.running_var', '.num_batches_tracked')


@dataclass(frozen=True)
class Row:
    """Names of a weight; ``{}`` is an index, None a format that has no such weight.

    ``mmpretrain`` is mmselfsup's and mmcls', too; ``leaves`` hang below the name;
    ``others`` are formats that call it otherwise than their column does.
    """

    ours: str
    official: str | None
    mmpretrain: str | None
    timm: str | None = None
    leaves: tuple[str, ...] = LAYER
    others: Mapping[str, str] = field(default_factory=dict)

    def name_in(self, form: str, column: str) -> str | None:
        """What a format calls it whose names are those of a column."""
        return self.others.get(form, getattr(self, column))


Rows = tuple[Row, ...]

_IN_BLOCK = (  # ours, the official codes' and timm's; mmpretrain's
    ('norm1', 'ln1'),
    ('attn.qkv', 'attn.qkv'),
    ('attn.proj', 'attn.proj'),
    ('norm2', 'ln2'),
    ('mlp.fc1', 'ffn.layers.0.0'),
    ('mlp.fc2', 'ffn.layers.1'),
)


def in_blocks(
    ours: str, official: str, mmpretrain: str, timm: str | None = None
) -> Rows:
    """The weights of transformer blocks with these names."""
    return tuple(
        Row(
            f'{ours}.{part}',
            f'{official}.{part}',
            f'{mmpretrain}.{theirs}',
            timm and f'{timm}.{part}',
        )
        for part, theirs in _IN_BLOCK
    )


_OURS, _THEIRS = 'head.decoders.0', 'neck.decoder'
DECODER: Rows = (  # MAE's, which MixMIM has, too
    Row(f'{_OURS}.embed', 'decoder_embed', f'{_THEIRS}_embed'),
    Row(f'{_OURS}.mask_token', 'mask_token', 'neck.mask_token', leaves=TOKEN),
    Row(
        f'{_OURS}.pos_embed', 'decoder_pos_embed', f'{_THEIRS}_pos_embed', leaves=TOKEN
    ),
    *in_blocks(f'{_OURS}.blocks.{{}}', 'decoder_blocks.{}', f'{_THEIRS}_blocks.{{}}'),
    Row(f'{_OURS}.norm', 'decoder_norm', 'neck.ln1'),
    Row(
        f'{_OURS}.pred',
        'decoder_pred',
        f'{_THEIRS}_pred',
        others={'dbot': 'decoder_predp'},
    ),
)


def grid_in_file(patches: Tensor, name: str, wanted: Size | None = None) -> Size:
    """The grid of positions (1, L, C) of patches; ValueError if nothing tells it.

    ``wanted`` is that of those which may have it.
    """
    grid = stored_grid(patches, wanted)
    if grid is None:
        raise ValueError(
            f'{name}: got {patches.shape[1]} learned positions of patches, expected a '
            'square number, as square images have. For others, build the encoder with '
            'img_size=(H, W) and load what mim_zoo.conversion.convert returns'
        )
    return grid


def grid_of(img_size: int | Sequence[int] | None, patch: int) -> Size | None:
    """Patches down and across images of such a size."""
    return None if img_size is None else cells(pair(img_size), patch)


def image_size(grid: Size, patch: int) -> int | Size:
    """Pixels of the images that have such a grid: one number of square ones."""
    size = grid[0] * patch, grid[1] * patch
    return size[0] if size[0] == size[1] else size


def checked_window(table: Tensor, name: str, extra: int = 0) -> int:
    """w of a bias table ((2 w - 1)^2 + extra, heads); ValueError if it has none."""
    window = window_of(table[: len(table) - extra])
    if (2 * window - 1) ** 2 + extra != len(table):
        raise ValueError(
            f'{name}: got {len(table)} rows, expected (2 w - 1)^2'
            f'{f" + {extra}" if extra else ""} of a window of w x w tokens'
        )
    return window


class Family:
    """Encoders of one structure: their names in every format, and what shapes tell.

    title: with an article. columns: a format to the column of ``Row`` that it is.
    signs: patterns that tell a format, each of which some name must match; the first
    such format is it. heads: kinds of classifiers, each with the name of ours that
    tells it (None: any other). essential: unknown names that would change what the
    encoder computes if they were dropped. needed: names of ours without which there is
    no encoder.
    """

    title: ClassVar[str]
    encoder: ClassVar[type[Encoder]]
    columns: ClassVar[dict[str, str]]
    signs: ClassVar[dict[str, tuple[str, ...]]]
    rows: ClassVar[Rows]
    heads: ClassVar[tuple[tuple[str | None, Rows], ...]]
    essential: ClassVar[str]
    needed: ClassVar[tuple[str, ...]]

    def arguments(
        self,
        state: Mapping[str, Tensor],
        num_heads: int | None = None,
        img_size: int | Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Arguments of the encoder in ``state`` (our names); ``num_heads`` if asked.

        ``img_size``: that of positions which do not tell it.
        """
        raise NotImplementedError

    def summary(self, state: Mapping[str, Tensor]) -> str:
        """The encoder in a few words."""
        raise NotImplementedError

    def derive(self, state: Mapping[str, Tensor]) -> StateDict:
        """Buffers that other formats store and that follow from ``state``."""
        return {}

    def unpack(self, form: str, state: Mapping[str, Tensor]) -> StateDict:
        """What ``form`` stores as one value for each of ours (its names)."""
        return dict(state)

    def pack(self, form: str, state: Mapping[str, Tensor]) -> StateDict:
        """The inverse, from values as ours to what ``form`` stores (its names)."""
        return dict(state)

    def idle(self, form: str, state: Mapping[str, Tensor]) -> list[str]:
        """Weights of ``state`` (our names) of which packing loses what does nothing."""
        return []

    def guess(self, names: Iterable[str]) -> str | None:
        """The format of a model of this family, None if it is none of them."""
        names = list(names)
        for form, signs in self.signs.items():
            if all(any(re.match(sign, name) for name in names) for sign in signs):
                return form
        return None

    def check_format(self, form: str) -> None:
        """ValueError if the format has no such encoders."""
        if form not in self.columns:
            raise ValueError(
                f'{form} has no place for {self.title}; expected one of '
                f'{tuple(self.columns)}'
            )

    def head_of(self, state: Mapping[str, Tensor]) -> Rows:
        """What the classifier in ``state`` (our names) is made of."""
        return next(rows for sign, rows in self.heads if sign is None or sign in state)

    def theirs_to_ours(self, names: Iterable[str], source: str) -> dict[str, str]:
        """{name: our name} of those that have one."""
        heads = tuple(row for _, rows in self.heads for row in rows)
        return self._translate(names, self.rows + heads, source, 'ours')

    def ours_to_theirs(
        self, state: Mapping[str, Tensor], target: str
    ) -> dict[str, str]:
        """{our name: name} of those that ``target`` has a place for."""
        return self._translate(state, self.rows + self.head_of(state), 'ours', target)

    def _translate(
        self, names: Iterable[str], rows: Rows, source: str, target: str
    ) -> dict[str, str]:
        rules = []
        for row in rows:
            old = row.name_in(source, self.columns[source])
            new = row.name_in(target, self.columns[target])
            if old is None or new is None:
                continue
            for leaf in row.leaves:
                pattern = re.escape(old + leaf).replace(r'\{\}', r'(\d+)')
                rules.append((re.compile(pattern), new + leaf))
        found = {}
        for name in names:
            for rule, new in rules:
                if match := rule.fullmatch(name):
                    found[name] = new.format(*match.groups())
                    break
        return found
