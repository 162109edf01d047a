#!/usr/bin/env python
"""Train what a config describes: ``python tools/train.py CONFIG``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if (ROOT / 'mim_zoo' / 'version.py').is_file():  # in a checkout, its own code
    sys.path.insert(0, str(ROOT))

from mim_zoo import cli  # noqa: E402
from mim_zoo.engine.distributed import end_together  # noqa: E402
from mim_zoo.errors import plain_errors  # noqa: E402


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.make_parser('Train what a config describes.')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this file; without a value, or with "auto", from the newest '
        'whole checkpoint in the work folder',
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision (bf16) on an accelerator'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate to the real batch: processes x batch x '
        'accumulation',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Train."""
    args = parse_args(argv)
    with plain_errors(args.debug):
        train(args)
    end_together()


def train(args: argparse.Namespace) -> None:
    """Build what the arguments describe and run it."""
    cfg = cli.load_config(args)
    if args.amp:
        cli.enable_amp(cfg)
    if args.auto_scale_lr:
        cli.enable_auto_scale_lr(cfg)
    if args.resume:
        cli.enable_resume(cfg, args.resume)
    cli.check_pretrained(cfg)
    cli.build_runner(cfg).train()


if __name__ == '__main__':
    main()
