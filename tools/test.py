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
from mim_zoo.datasets.corruptions import CORRUPTIONS, SEVERITIES, Corrupt  # noqa: E402
from mim_zoo.engine.corrupted import (  # noqa: E402
    is_imagenet,
    measure_corrupted,
    with_corruption,
)
from mim_zoo.engine.distributed import end_together  # noqa: E402
from mim_zoo.errors import plain_errors  # noqa: E402
from mim_zoo.evaluation.corruptions import (  # noqa: E402
    corruption_metrics,
    mean_error,
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.make_parser('Measure a checkpoint by what a config evaluates.')
    parser.add_argument('checkpoint', help='file to measure')
    parser.add_argument(
        '--show-dir', metavar='FOLDER', help='write pictures of the predictions there'
    )
    parser.add_argument(
        '--corruptions',
        nargs='+',
        metavar='NAME',
        help='measure a classifier on corrupted images too: "all", or some of the 15 '
        'of ImageNet-C',
    )
    parser.add_argument(
        '--severities',
        nargs='+',
        type=int,
        choices=SEVERITIES,
        help='of the corruptions (all)',
    )
    parser.add_argument(
        '--corruption-share',
        type=float,
        metavar='SHARE',
        help="of every class's test images, to corrupt (1)",
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
    cli.check_output(args.out)
    if args.show_dir:
        cli.enable_pictures(cfg, args.show_dir)
    names = corruptions_of(args)
    if names:
        with_corruption(cfg.test_dataloader, names[0], SEVERITIES[0])  # it can be done
    cfg.load_from, cfg.resume = args.checkpoint, False
    runner = cli.build_runner(cfg)
    metrics = cli.plain_metrics(runner.test())
    if names:
        share = args.corruption_share or 1.0
        imagenet = share == 1 and is_imagenet(runner)
        errors = measure_corrupted(runner, names, args.severities or SEVERITIES, share)
        metrics |= corruption_metrics(errors, imagenet)
        metrics |= {f'error/{name}': mean_error({name: errors[name]}) for name in names}
        metrics['errors'] = errors
    if runner.rank == 0:
        shown = {name: v for name, v in metrics.items() if not isinstance(v, dict)}
        cli.show_metrics(shown, title=args.checkpoint)
        if args.out:
            cli.write_metrics(metrics, args.out)


def corruptions_of(args: argparse.Namespace) -> list[str]:
    """The corruptions that were asked for; ends the command if they make no sense."""
    if not args.corruptions:
        if args.severities or args.corruption_share is not None:
            cli.fail(
                '--severities and --corruption-share say how much is corrupted, and '
                'nothing is: add --corruptions all'
            )
        return []
    share = args.corruption_share
    if share is not None and not 0 < share <= 1:
        cli.fail(f'--corruption-share: got {share}, expected above 0 and at most 1')
    names = list(CORRUPTIONS) if args.corruptions == ['all'] else args.corruptions
    for name in names:
        Corrupt(name, SEVERITIES[0])
    return names


if __name__ == '__main__':
    main()
