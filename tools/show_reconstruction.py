#!/usr/bin/env python
"""Draw what a model reconstructs: ``show_reconstruction.py CONFIG CHECKPOINT``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
if (ROOT / 'mim_zoo' / 'version.py').is_file():  # in a checkout, its own code
    sys.path.insert(0, str(ROOT))

from mim_zoo import cli  # noqa: E402
from mim_zoo.engine.data_root import fill_data_root  # noqa: E402
from mim_zoo.engine.hooks.picture import fixed_batch  # noqa: E402
from mim_zoo.engine.loading import load_weights  # noqa: E402
from mim_zoo.errors import plain_errors  # noqa: E402
from mim_zoo.registry import MODELS, SCOPE  # noqa: E402
from mim_zoo.visualization import draw_batch, load_pictures  # noqa: E402


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.config_parser('Draw original, masked, prediction and pasted images.')
    parser.add_argument('checkpoint', help='file of a pre-training run')
    parser.add_argument(
        '--images',
        nargs='+',
        metavar='PATH',
        help="image files or folders; without them, the config's test images",
    )
    parser.add_argument('--num-images', type=int, default=8, help='at most (8)')
    parser.add_argument('--out', default='reconstruction.png', help='file to write')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw."""
    args = parse_args(argv)
    with plain_errors(args.debug):
        draw(args)


def draw(args: argparse.Namespace) -> None:
    """Draw, and say where."""
    cfg = cli.changed_config(args)
    cli.check_file(args.checkpoint, 'checkpoint')
    cli.check_output(args.out, Image.registered_extensions())
    init_default_scope(cfg.get('default_scope', SCOPE))
    model = MODELS.build(cfg.model).eval()
    if not hasattr(model, 'reconstruct'):
        cli.fail(f'"{args.config}" builds a {type(model).__name__}: nothing to draw.')
    load_weights(model, args.checkpoint)
    if args.images:
        batch = load_pictures(args.images, model.backbone, args.num_images)
    else:
        if cfg.get('test_dataloader') is None:
            cli.fail('the config has no test_dataloader; name images with --images.')
        loader = Runner.build_dataloader(fill_data_root(cfg.test_dataloader, cfg))
        batch = fixed_batch(loader, args.num_images)
    picture = draw_batch(model, batch)
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(args.out)
    print(f'{len(batch["inputs"])} images drawn to {Path(args.out).resolve()}')


if __name__ == '__main__':
    main()
