#!/usr/bin/env python
"""Measure a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``."""

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
    parser = cli.make_parser('Measure a checkpoint by what a config evaluates.')
    parser.add_argument('checkpoint', help='file to measure')
    parser.add_argument(
        '--show-dir', metavar='FOLDER', help='write pictures of the predictions there'
    )
    parser.add_argument('--out', metavar='FILE', help='write the metrics as JSON')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure."""
    args = parse_args(argv)
    with plain_errors(args.debug):
        measure(args)
    end_together()


def measure(args: argparse.Namespace) -> None:
    """Measure, print a table, write JSON if asked."""
    cfg = cli.load_config(args)
    for part in ('test_dataloader', 'test_cfg', 'test_evaluator'):
        if cfg.get(part) is None:
            cli.fail(f'"{args.config}" has no {part}: there is nothing to measure.')
    cli.check_file(args.checkpoint, 'checkpoint')
    if args.show_dir:
        cli.enable_pictures(cfg, args.show_dir)
    cfg.load_from, cfg.resume = args.checkpoint, False
    runner = cli.build_runner(cfg)
    metrics = cli.plain_metrics(runner.test())
    if runner.rank == 0:
        cli.show_metrics(metrics, title=args.checkpoint)
        if args.out:
            cli.write_metrics(metrics, args.out)


if __name__ == '__main__':
    main()
