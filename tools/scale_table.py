#!/usr/bin/env python
"""Compute what configs need, or write the table of docs/scale.md.

python tools/scale_table.py                       # the table of the page
python tools/scale_table.py mae/mae_vit-large-p16_8xb512-amp-coslr-800e_in1k ...
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if (ROOT / 'mim_zoo' / 'version.py').is_file():  # in a checkout, its own code
    sys.path.insert(0, str(ROOT))

from mim_zoo import cli  # noqa: E402
from mim_zoo.benchmark.needs import needs_of, needs_table  # noqa: E402
from mim_zoo.errors import plain_errors  # noqa: E402
from mim_zoo.pages import fill_file  # noqa: E402

PAGE = ROOT / 'docs' / 'scale.md'
PEAK, MFU = 989.0, 0.4
CONFIGS = (
    'mae/mae_vit-base-p16_8xb512-amp-coslr-800e_in1k',
    'mae/mae_vit-large-p16_8xb512-amp-coslr-800e_in1k',
    'mae/mae-fsdp_vit-huge-p14_8xb128-accum4-amp-coslr-800e_in1k',
    'pixmim/pixmim_vit-base-p16_8xb512-amp-coslr-800e_in1k',
    'mff/mff_vit-base-p16_8xb512-amp-coslr-800e_in1k',
    'deepmim/deepmim_vit-base-p16_8xb512-amp-coslr-1600e_in1k',
    'dbot/dbot_vit-base-p16_8xb512-amp-coslr-1600e_in1k',
    'mixmim/mixmim_mixmim-base-w14_16xb128-amp-coslr-600e_in1k',
    'mixmim/mixmim_mixmim-large-w14_16xb128-amp-coslr-600e_in1k',
    'mixmim/mixmim-fsdp_mixmim-huge-w14_16xb128-amp-coslr-600e_in1k',
)


def main(argv: Sequence[str] | None = None) -> None:
    """Compute and print, or write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='*', help='below configs/ (those of the page)')
    parser.add_argument(
        '--peak-tflops', type=float, default=PEAK, help=f'of a GPU in bf16 ({PEAK})'
    )
    parser.add_argument(
        '--mfu', type=float, default=MFU, help=f'the share of it that is used ({MFU})'
    )
    args = parser.parse_args(argv)
    if args.peak_tflops <= 0 or not 0 < args.mfu <= 1:
        cli.fail('--peak-tflops must be above 0, --mfu above 0 and at most 1.')
    if not args.configs and (args.peak_tflops, args.mfu) != (PEAK, MFU):
        cli.fail('the page is for one GPU and MFU: name configs for another.')
    with plain_errors():
        found = [(name, needs_of(name)) for name in args.configs or CONFIGS]
    table = needs_table(found, args.peak_tflops, args.mfu, '../configs')
    print(table)
    if not args.configs:
        fill_file(PAGE, 'needs', table)


if __name__ == '__main__':
    main()
