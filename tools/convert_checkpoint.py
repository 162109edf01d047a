#!/usr/bin/env python
"""Convert weights between mim_zoo, official code, timm, and mmpretrain or mmselfsup.

    python tools/convert_checkpoint.py mae_pretrain_vit_base.pth vit_base.safetensors
    python tools/convert_checkpoint.py work_dirs/mae/epoch_800.pth timm.pth --to timm
    python tools/convert_checkpoint.py mixmim_base.pth ours.safetensors
    python tools/convert_checkpoint.py work_dirs/dbot/epoch_1600.pth dbot.pth --to dbot

Plain ViTs (MAE, PixMIM, MFF, their fine-tuned models): ours, mae, timm, mmpretrain.
DeepMIM and dBOT: these, and deepmim or dbot with the decoders; what they fine-tuned,
and dBOT's teachers, have the names of timm. dBOT's symmetric models, named as BEiT's:
ours, dbot. MixMIM, pre-trained or fine-tuned: ours, mixmim, mmpretrain. The format of
the source is recognised by its names. How a classifier pools stands in the config that
training checkpoints of ours hold; for other files of ours say it by --pool. Mean and
std of the pixels, where that config sets them, are kept as a note. What was written is
read back and compared, and must fill an encoder of ours; a timm file must build a timm
model that computes the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
if (ROOT / 'mim_zoo' / 'version.py').is_file():  # in a checkout, its own code
    sys.path.insert(0, str(ROOT))

from mim_zoo.conversion import (  # noqa: E402
    FORMATS,
    Conversion,
    convert,
    to_ours,
)
from mim_zoo.conversion.shapes import (  # noqa: E402
    build_encoder,
    compare_with_timm,
    describe,
    timm_call,
)
from mim_zoo.conversion.stored import (  # noqa: E402
    as_notes,
    stored_pool,
    stored_statistics,
)
from mim_zoo.engine.loading import (  # noqa: E402
    StateDict,
    read_checkpoint,
    save_state_dict,
    state_dict_of,
)
from mim_zoo.models.encoder import POOLS  # noqa: E402

TOLERANCE = 1e-4
SUFFIXES = ('.pth', '.safetensors')


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('src', type=Path, help='.pth or .safetensors')
    parser.add_argument('dst', type=Path, help='.pth or .safetensors')
    parser.add_argument('--to', choices=FORMATS, default='ours')
    parser.add_argument(
        '--trust',
        action='store_true',
        help='unpickle whatever the source holds; runs code from it if it has any',
    )
    parser.add_argument(
        '--backbone-only', action='store_true', help='keep the encoder alone'
    )
    parser.add_argument('--force', action='store_true', help='overwrite the target')
    parser.add_argument(
        '--num-heads', type=int, help='of plain ViTs that are no known architecture'
    )
    parser.add_argument(
        '--pool',
        choices=POOLS,
        help='of a classifier whose file does not say: the mean of the patches, or the '
        'class token',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Convert, check, and only then put the file in its place."""
    args = parse_args(argv)
    if args.dst.suffix not in SUFFIXES:
        raise ValueError(f'{args.dst}: expected a name that ends in one of {SUFFIXES}')
    if args.dst.exists() and not args.force:
        raise ValueError(f'{args.dst} exists; pass --force to overwrite it')
    checkpoint = read_checkpoint(args.src, args.trust)
    source = state_dict_of(checkpoint)
    pool = agreed_pool(args, stored_pool(args.src, checkpoint))
    statistics = stored_statistics(args.src, checkpoint)
    done = convert(source, args.to, args.backbone_only, pool)
    ours = convert(source, 'ours', args.backbone_only, pool).state
    if args.pool and done.pool is None:
        raise ValueError(f'--pool: no classifier is kept of {args.src}; leave it out')
    print(f'source:  {args.src}, names of {done.source}')
    print(f'model:   {describe(ours)}')
    if done.pool:
        print(f'pooling: {done.pool}')
    if statistics:
        print(f'pixels:  mean {statistics[0]}, std {statistics[1]}')
    print(f'dropped: {", ".join(done.dropped) or "nothing"}')
    if done.folded:
        print(f'folded into the head: {", ".join(done.folded)}')
    if done.derived:
        print(f'left out, follows from the rest: {some(done.derived)}')
    if done.idle:
        print(f'left out, biases of keys do nothing: in {some(done.idle)}')

    unchecked = args.dst.with_name(f'unchecked_{args.dst.name}')
    try:
        official = args.to in ('mae', 'mixmim', 'deepmim', 'dbot')
        key = 'model' if official else 'state_dict'
        notes = {'names': args.to, **as_notes(done.pool, statistics)}
        save_state_dict(done.state, unchecked, notes, key)
        check(unchecked, done, ours, args)
        unchecked.replace(args.dst)
    finally:
        unchecked.unlink(missing_ok=True)
    print(f'written: {args.dst}, {len(done.state)} tensors, names of {args.to}')


def agreed_pool(args: argparse.Namespace, stored: str | None) -> str | None:
    """Asked for, or stored; ValueError if these differ."""
    if args.pool and stored and args.pool != stored:
        raise ValueError(
            f'--pool {args.pool}: {args.src} says that its classifier has '
            f'pool={stored!r}; leave --pool out'
        )
    return args.pool or stored


def some(names: Sequence[str]) -> str:
    """The first two, and how many there are besides."""
    more = f' and {len(names) - 2} more' if len(names) > 2 else ''
    return ', '.join(names[:2]) + more


def check(
    path: Path, done: Conversion, ours: StateDict, args: argparse.Namespace
) -> None:
    """ValueError unless the written file says what was meant."""
    written = state_dict_of(read_checkpoint(path))
    back = to_ours(written).state
    lost = [k for k in done.state if not torch.equal(written[k], done.state[k])]
    lost += [
        k
        for k, v in back.items()
        if not done.folded and k not in done.idle and not torch.equal(v, ours[k])
    ]
    if lost:
        raise ValueError(f'{path} differs from what was written to it: {lost[:5]}')
    if args.to == 'timm':
        name, options = timm_call(ours, args.num_heads, done.pool)
        difference = compare_with_timm(ours, path, args.num_heads, done.pool)
        given = ''.join(f', {k}={v!r}' for k, v in options.items())
        print(f"timm.create_model('{name}'{given}, checkpoint_path='{args.dst}')")
        print(f'checked: largest difference to timm {difference:.1e}')
        if not difference <= TOLERANCE:
            raise ValueError(
                f'timm computes something else from {path}: {difference:.1e}, expected '
                f'at most {TOLERANCE:.0e}. Is --num-heads right?'
            )
    else:
        build_encoder(back, args.num_heads or 1)  # heads leave no trace in weights


if __name__ == '__main__':
    try:
        main()
    except ValueError as error:
        sys.exit(f'error: {error}')
