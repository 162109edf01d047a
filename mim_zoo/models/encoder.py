"""The contract of every encoder.

Legend: B images, P prefix tokens, L' tokens at the stem, K tokens given to
``encode``, C channels.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from .layers import Size, cells, pair, run_block
from .relative import INDEX
from .units import Statistics

if TYPE_CHECKING:  # the engine's hooks import the models
    from mim_zoo.engine.loading import LoadReport

_LOADING = ('prefix', 'min_share', 'trust')  # of ``load_weights``
POOLS = ('avg', 'cls')  # the mean of the patches, the class token
_BLOCK = re.compile(r'(?:layers\.\d+\.)?blocks\.\d+\.')
_NEEDED = re.compile(
    r'cls_token|patch_embed\.proj\.weight|(?:layers\.\d+\.)?(?:blocks\.\d+\.'
    r'(?:attn\.(?:qkv|proj)|mlp\.fc[12])|downsample\.reduction)\.weight'
)


class Encoder(BaseModule):
    """An encoder knows nothing of masks, ratios, targets or methods.

    It is ``embed`` (the stem) and ``encode`` (the trunk); ``forward`` is the two, for
    everybody downstream. A subclass sets ``stride`` (pixels of a prediction cell),
    ``in_channels``, ``num_prefix_tokens``, ``levels`` ((channels, stride) of every
    block), ``out_indices`` (blocks whose maps ``forward`` gives) and ``norm``, which
    ``forward`` and the necks put on an output that contains the last block, and on no
    other. ``whole_grid``: the trunk needs a token at every place of the stem's grid;
    ``needs_groups``: it has parameters that only groups use; ``with_cp``: blocks are
    recomputed in the backward pass instead of stored; ``frozen_stages``: how many
    learn no more, see ``freeze``; ``statistics``: mean and std of the pixels that its
    weights were trained on, where ``get_model`` found them in their file.
    """

    whole_grid = False
    needs_groups = False
    frozen_stages: int | str = -1
    statistics: Statistics | None = None
    stride: int
    in_channels: int
    num_prefix_tokens: int
    levels: tuple[tuple[int, int], ...]
    out_indices: Sequence[int]
    norm: nn.Module

    def __init__(
        self,
        img_size: int | Sequence[int],
        init_cfg: dict | None,
        with_cp: bool = False,
    ):
        super().__init__(init_cfg)
        self.img_size = pair(img_size)
        self.with_cp = with_cp

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C_in, H, W) to tokens (B, L', C) and positions (1, L', C)."""
        raise NotImplementedError

    def encode(
        self,
        tokens: Tensor,
        taps: Sequence[int],
        size: Sequence[int],
        groups: Tensor | None = None,
    ) -> dict[int, Tensor]:
        """Run the trunk on tokens (B, K, C) that carry their positions already.

        Returns {block: raw output (B, P + K_i, C_i)} for the blocks in ``taps``,
        counted from 0. ``size`` (H, W): pixels of the images the tokens are of.
        ``groups`` (B | 1, K): attention stays within equal labels.
        """
        raise NotImplementedError

    def with_prefix(self, tokens: Tensor) -> Tensor:
        """What enters the first block: prefix tokens in front of (B, K, C), if any."""
        return tokens

    def run_block(self, block: nn.Module, x: Tensor, *context: Any) -> Tensor:
        """Tokens after one block of the trunk."""
        return run_block(block, self.with_cp, x, *context)

    def get_stages(self) -> nn.ModuleList:
        """The trunk in the parts that ``freeze`` counts, shallow ones first."""
        raise ValueError(
            f'frozen_stages: {type(self).__name__} has no get_stages, which returns '
            "its blocks; write it, or freeze 'all'"
        )

    def freeze(self, num_stages: int | str = 'all') -> None:
        """The stem and the first stages learn no more and stay in eval mode.

        -1 freezes nothing; 'all', or as many as there are, the last norm, too. The stem
        is what is neither in a stage nor this norm. Nothing is kept for a backward pass
        through frozen parts. ValueError for another number, or fewer than are frozen.
        """
        if num_stages == self.frozen_stages:
            return
        if num_stages != 'all':
            last = len(self.get_stages())
            if type(num_stages) is not int or not -1 <= num_stages <= last:
                raise ValueError(
                    f'frozen_stages: got {num_stages!r}, expected 0 (the stem), 1 to '
                    f"{last} (stages, too), 'all', or -1 (nothing is frozen)"
                )
            if self.frozen_stages == 'all' or num_stages < int(self.frozen_stages):
                raise ValueError(
                    f'frozen_stages: got {num_stages} after {self.frozen_stages!r}, '
                    'expected more; build the encoder again with fewer'
                )
            num_stages = 'all' if num_stages == last else num_stages
        self.frozen_stages = num_stages
        learning = {id(p) for part in self._learning() for p in part.parameters()}
        for param in self.parameters():
            if id(param) not in learning:
                param.requires_grad_(False)
        self.train(self.training)

    def _learning(self) -> list[nn.Module]:
        """What is behind the frozen stages."""
        if self.frozen_stages == 'all':
            return []
        return [*self.get_stages()[int(self.frozen_stages) :], self.norm]

    def train(self, mode: bool = True) -> 'Encoder':
        """Frozen parts stay in eval mode."""
        if self.frozen_stages == -1:
            return super().train(mode)
        super().train(False)
        learning = self._learning()
        for part in learning:
            part.train(mode)
        self.training = mode and bool(learning)
        return self

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """(layer id, number of layers) of a parameter, for layer-wise lr decay."""
        raise ValueError(
            f'layer_decay_rate: {type(self).__name__} has no get_layer_depth, which '
            'says how deep a parameter is; write it, or leave layer_decay_rate out'
        )

    @property
    def embed_dim(self) -> int:
        """C of the last block."""
        return self.levels[-1][0]

    def grid(self, size: Sequence[int], stride: int | None = None) -> Size:
        """Cells per column and row, (h, w), for images of ``size`` (H, W)."""
        return cells(size, stride or self.stride)

    def check_images(self, images: Tensor) -> None:
        """ValueError unless images are (B, in_channels, H, W)."""
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise ValueError(
                f'images: got shape {tuple(images.shape)}, expected '
                f'(B, {self.in_channels}, H, W); set in_channels to your data'
            )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Feature maps (B, C_i, h_i, w_i), one per ``out_indices``, nothing hidden."""
        tokens, pos = self.embed(images)
        outputs = self.encode(tokens + pos, self.out_indices, images.shape[-2:])
        maps = []
        for i in self.out_indices:
            x = self.norm(outputs[i]) if i == len(self.levels) - 1 else outputs[i]
            grid = self.grid(images.shape[-2:], self.levels[i][1])
            x = x[:, self.num_prefix_tokens :].transpose(1, 2)
            maps.append(x.reshape(x.shape[0], -1, *grid))
        return tuple(maps)

    def forward_features(self, images: Tensor) -> Tensor:
        """Normed tokens (B, P + L, C) of the last block, nothing hidden."""
        tokens, pos = self.embed(images)
        last = len(self.levels) - 1
        size = images.shape[-2:]
        return self.norm(self.encode(tokens + pos, [last], size)[last])

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        self._check_blocks(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _check_blocks(self, state_dict: Mapping[str, Any], prefix: str) -> None:
        """ValueError if blocks would leave weights of a file that they need out."""
        own = {name for name, _ in (*self.named_parameters(), *self.named_buffers())}
        blocks = {_block_of(name) for name in own} - {None}
        given = [k.removeprefix(prefix) for k in state_dict if k.startswith(prefix)]
        lost = [
            name
            for name in given
            if name not in own
            and not name.endswith(f'.{INDEX}')  # derived
            and (name.startswith('rel_pos_bias.') or _block_of(name) in blocks)
        ]
        if lost:
            raise ValueError(
                f'{type(self).__name__} has no place for {", ".join(lost[:4])} '
                f'({len(lost)} such weights), without which its blocks would compute '
                'something else. Build it as the file was: rel_pos= for relative '
                'positions, layer_scale= for gamma_1 and gamma_2.'
            )

    def init_weights(self) -> None:
        """Load ``init_cfg``'s checkpoint with a report; a poor match is an error.

        Without one nothing happens: the constructor has drawn the random weights.
        """
        if not load_pretrained(self) and self.init_cfg:
            super().init_weights()


def _block_of(name: str) -> str | None:
    match = _BLOCK.match(name)
    return match and match[0]


def load_pretrained(module: BaseModule) -> bool:
    """Follow ``init_cfg=dict(type='Pretrained', checkpoint=, prefix=, ...)``, if it is.

    Beside these it takes ``min_share`` and ``trust`` of ``load_weights``. A checkpoint
    without a type is one of ours: its prefix is 'backbone.'. MMEngine's list may hold
    it alone.
    """
    # here, because the engine's hooks import the models
    from mim_zoo.engine.loading import load_weights

    entries = module.init_cfg or []
    entries = [entries] if isinstance(entries, dict) else entries
    if not any('checkpoint' in entry for entry in entries):
        return False
    if len(entries) > 1:
        raise ValueError(
            f'init_cfg: got {len(entries)} entries and a checkpoint among them, '
            'expected that one alone, as all weights come from it'
        )
    given = {'type': 'Pretrained', **entries[0]}
    if 'type' not in entries[0]:
        given.setdefault('prefix', 'backbone.')
    kind, file = given.pop('type'), given.pop('checkpoint')
    if kind != 'Pretrained' or given.keys() - {*_LOADING}:
        raise ValueError(
            f'init_cfg with a checkpoint: got type={kind!r} and {sorted(given)}, '
            f"expected type='Pretrained' and perhaps {', '.join(_LOADING)}"
        )
    given['prefix'] = given.get('prefix') or ''
    report = load_weights(module, file, **given)
    check_loaded(report, file)
    module.is_init = True
    return True


def check_loaded(report: 'LoadReport', source: Any, prefix: str = '') -> None:
    """ValueError if weights of an encoder (names below ``prefix``) stayed random.

    They do if the file has them in another shape, or has no class token or no weight of
    a layer. What is added to an encoder begins as if it were not there, and may.
    """
    wrong = {k: v for k, v in report.mismatched.items() if k.startswith(prefix)}
    if wrong:
        shown = ', '.join(f'{name} {shapes}' for name, shapes in wrong.items())
        raise ValueError(
            f'{source}: got weights of another shape, expected those of this model: '
            f'{shown}; build it as the file was (arch, patch_size, in_channels)'
        )
    names = [k.removeprefix(prefix) for k in report.missing if k.startswith(prefix)]
    if lost := [name for name in names if _NEEDED.fullmatch(name)]:
        raise ValueError(
            f'{source}: got no {", ".join(lost[:4])} ({len(lost)} such weights), which '
            'would stay random; build the encoder as the file was (arch, '
            'class_token=False where it has no cls_token)'
        )


def check_pool(pool: str, prefix_tokens: int) -> None:
    """ValueError unless there is such a pooling, and a class token if it takes it."""
    if pool not in POOLS:
        raise ValueError(f"pool: got {pool!r}, expected 'avg' or 'cls'")
    if pool == 'cls' and not prefix_tokens:
        raise ValueError("pool='cls': the encoder has no class token; use pool='avg'")


def pool_tokens(x: Tensor, prefix_tokens: int, pool: str) -> Tensor:
    """Tokens (B, P + L, C) to (B, C): mean of the patches, or the class token."""
    check_pool(pool, prefix_tokens)
    return x[:, prefix_tokens:].mean(dim=1) if pool == 'avg' else x[:, 0]
