#!/usr/bin/env python
"""Pack a folder of images into tar shards: ``pack_shards.py FOLDER OUT``."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if (ROOT / 'mim_zoo' / 'version.py').is_file():  # in a checkout, its own code
    sys.path.insert(0, str(ROOT))

from mim_zoo.datasets import ImageFolder  # noqa: E402
from mim_zoo.datasets.shard_packing import (  # noqa: E402
    Packed,
    decoded,
    pack_shards,
    parse_size,
    shrinker,
    untouched,
)
from mim_zoo.errors import fail, plain_errors  # noqa: E402

SECONDS = 10  # between two lines of progress


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Pack the images of a folder into plain tar files, named as in '
        'WebDataset, and an index, for the data set ShardedImages.'
    )
    parser.add_argument('folder', help='images, nested or flat')
    parser.add_argument('out', help='a new or an empty folder')
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        '--shard-size', default='512MiB', metavar='SIZE', help='at most (512MiB)'
    )
    length.add_argument('--images-per-shard', type=int, metavar='N', help='instead')
    parser.add_argument(
        '--with-label', action='store_true', help='a folder per class, or a list file'
    )
    parser.add_argument(
        '--list-file', metavar='FILE', help='lines "path" or "path label"'
    )
    parser.add_argument(
        '--shuffle-seed',
        type=int,
        metavar='SEED',
        help='shuffle the order inside the shards, as ShardSampler needs it',
    )
    parser.add_argument(
        '--max-side',
        type=int,
        metavar='PIXELS',
        help='make JPEGs of 8-bit photos with a longer side; without it, and all '
        'others, files are copied as they are',
    )
    parser.add_argument(
        '--quality', type=int, metavar='Q', help='of these JPEGs, 1 to 100 (90)'
    )
    parser.add_argument(
        '--verify', action='store_true', help='decode every image, leave out bad ones'
    )
    parser.add_argument(
        '--max-unreadable',
        type=float,
        default=0.01,
        metavar='SHARE',
        help='of all files, that may be left out (0.01)',
    )
    parser.add_argument(
        '--debug', action='store_true', help='show the traceback of every error'
    )
    return parser.parse_args(argv)


def progress_on_stderr() -> Callable[[int, int, int], None]:
    """Print how far it is and how fast, every few seconds."""
    begin = last = time.monotonic()

    def progress(done: int, total: int, size: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS or done == total:
            last = now
            rate = done / max(now - begin, 1e-9)
            print(
                f'{done} of {total} images, {size / 2**20:.0f} MiB, '
                f'{rate:.0f} images/s',
                file=sys.stderr,
            )

    return progress


def pack(args: argparse.Namespace) -> Packed:
    """Do what the command line says."""
    if args.quality is not None and args.max_side is None:
        fail('--quality is of the JPEGs that --max-side makes; give both or neither.')
    prepare = decoded if args.verify else untouched
    if args.max_side is not None:
        quality = 90 if args.quality is None else args.quality
        prepare = shrinker(args.max_side, quality, keep=prepare)
    per_shard = args.images_per_shard
    return pack_shards(
        ImageFolder(
            args.folder,
            args.list_file,
            args.with_label,
            max_unreadable=args.max_unreadable,
        ),
        args.out,
        shard_size=parse_size(args.shard_size) if per_shard is None else sys.maxsize,
        images_per_shard=per_shard,
        shuffle_seed=args.shuffle_seed,
        prepare=prepare,
        progress=progress_on_stderr(),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Pack, and say what was left out and what was written."""
    args = parse_args(argv)
    with plain_errors(args.debug):
        packed = pack(args)
    for message in packed.left_out:
        print(f'left out: {message}', file=sys.stderr)
    print(
        f'{packed.images} images in {packed.shards} shards of {packed.size / 2**20:.1f}'
        f' MiB together written to {Path(args.out).resolve()}; {len(packed.left_out)} '
        'files left out'
    )


if __name__ == '__main__':
    main()
