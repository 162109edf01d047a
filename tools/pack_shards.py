#!/usr/bin/env python
"""Pack a folder of images into tar files: ``pack_shards.py FOLDER OUT``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if (ROOT / 'mim_zoo' / 'version.py').is_file():  # in a checkout, its own code
    sys.path.insert(0, str(ROOT))

from mim_zoo.datasets import ImageFolder  # noqa: E402
from mim_zoo.datasets.shard_packing import pack_shards  # noqa: E402
from mim_zoo.errors import fail, plain_errors  # noqa: E402


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Pack the images of a folder, shuffled, into plain tar files and '
        'an index, for the data set ShardedImages. The same command goes on with what '
        'was interrupted.'
    )
    parser.add_argument('folder', help='images, in class folders or not')
    parser.add_argument('out', help='a new folder; OUT.part until it is whole')
    parser.add_argument(
        '--shard-size', type=float, default=128, metavar='MIB', help='about (128)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the shuffling (0)')
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


def main(argv: Sequence[str] | None = None) -> None:
    """Pack, and say what was written and what was left out."""
    args = parse_args(argv)
    with plain_errors(args.debug):
        try:
            packed = pack_shards(
                ImageFolder(args.folder, max_unreadable=args.max_unreadable),
                args.out,
                int(args.shard_size * 2**20),
                args.seed,
                say=lambda line: print(line, file=sys.stderr),
            )
        except OSError as error:  # a full disk
            if args.debug:
                raise
            fail(f'{error}. The same command goes on after the last whole shard.')
    for message in packed.left_out:
        print(f'left out: {message}', file=sys.stderr)
    print(
        f'{packed.images} images in {packed.shards} shards of '
        f'{packed.size / 2**20:.1f} MiB together written to '
        f'{Path(args.out).resolve()}; {len(packed.left_out)} files left out'
    )


if __name__ == '__main__':
    main()
