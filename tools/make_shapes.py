#!/usr/bin/env python
"""Draw a small data set for detection and segmentation: ``make_shapes.py FOLDER``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if (ROOT / 'mim_zoo' / 'version.py').is_file():  # in a checkout, its own code
    sys.path.insert(0, str(ROOT))

from mim_zoo.datasets.shapes import CLASSES, make_shapes  # noqa: E402
from mim_zoo.errors import plain_errors  # noqa: E402


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Draw shapes on textured backgrounds, with the annotations of '
        'COCO (instances) and of ADE20K (class maps).'
    )
    parser.add_argument('folder', help='a new or an empty one')
    parser.add_argument('--train', type=int, default=200, help='images (200)')
    parser.add_argument('--val', type=int, default=50, help='images (50)')
    parser.add_argument(
        '--size',
        nargs='+',
        type=int,
        default=[128],
        metavar='PIXELS',
        help='side, or height and width (128)',
    )
    parser.add_argument('--seed', type=int, default=0, help='another one, other images')
    parser.add_argument(
        '--shapes',
        nargs=2,
        type=int,
        default=[1, 6],
        metavar=('LEAST', 'MOST'),
        help='in an image (1 6)',
    )
    parser.add_argument(
        '--visible',
        type=float,
        default=0.5,
        metavar='SHARE',
        help='of its pixels, that every shape shows at least (0.5)',
    )
    parser.add_argument(
        '--debug', action='store_true', help='show the traceback of every error'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw, and say what and where."""
    args = parse_args(argv)
    with plain_errors(args.debug):
        counts = make_shapes(
            args.folder,
            train=args.train,
            val=args.val,
            size=tuple(args.size * 2 if len(args.size) == 1 else args.size),
            seed=args.seed,
            shapes=tuple(args.shapes),
            visible=args.visible,
        )
    print(
        f'{args.train} + {args.val} images (train + val) of {sum(counts.values())} '
        f'shapes in {len(CLASSES)} classes written to {Path(args.folder).resolve()}'
    )


if __name__ == '__main__':
    main()
