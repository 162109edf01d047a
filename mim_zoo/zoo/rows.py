"""What is compared: a row per method, at each size."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A method on an encoder, as names of configs.

    Args:
        encoder: 'ViT' or 'MixMIM'; rows of one encoder compare with each other.
        finetune: trains the encoder with labels.
        pretrain: without; None for a row from scratch.
    """

    name: str
    title: str
    encoder: str
    finetune: str
    pretrain: str | None = None


@dataclass(frozen=True)
class Tuning:
    """Fine-tuning with a share of the labels; ``batch``: None for the config's."""

    share: float
    epochs: int
    batch: int | None = None

    @property
    def name(self) -> str:
        """For folders, columns and results: 'finetune-10percent'."""
        return f'finetune-{100 * self.share:g}percent'


@dataclass(frozen=True)
class Size:
    """Encoders of about one cost, how they are fine-tuned, and what they then face.

    Args:
        severities: of the corruptions of test images.
        corruption_share: of the test images that are corrupted.
    """

    name: str
    rows: tuple[Row, ...]
    tunings: tuple[Tuning, ...]
    severities: tuple[int, ...]
    corruption_share: float

    def row(self, name: str) -> Row:
        """ValueError if there is none of that name."""
        for row in self.rows:
            if row.name == name:
                return row
        names = ', '.join(row.name for row in self.rows)
        raise ValueError(f'no row "{name}" at size {self.name}, expected of {names}')


def _rows(vit: str, mixmim: str, pretrain: str, finetune: str) -> tuple[Row, ...]:
    """By how the configs of a size are named."""
    on_vit = (
        ('mae', 'MAE'),
        ('pixmim', 'PixMIM'),
        ('mff', 'MFF'),
        ('deepmim', 'DeepMIM'),
        ('deepmim-mff', 'DeepMIM + MFF'),
        ('dbot', 'dBOT, 2 stages'),
        ('dbot-3stage', 'dBOT, 3 stages'),
        ('deepmim-hog', 'DeepMIM on HOG'),
        ('simmim', 'SimMIM'),
    )
    tuned, tuned_mixmim = (f'{name}_{finetune}' for name in (vit, mixmim))
    scratch = [name.replace('coslr', 'scratch-coslr') for name in (tuned, tuned_mixmim)]
    return (
        Row('vit-scratch', 'ViT from scratch', 'ViT', scratch[0]),
        *(
            Row(name, title, 'ViT', tuned, f'{name}_{vit}_{pretrain}')
            for name, title in on_vit
        ),
        Row('mixmim-scratch', "MixMIM's encoder from scratch", 'MixMIM', scratch[1]),
        Row('mixmim', 'MixMIM', 'MixMIM', tuned_mixmim, f'mixmim_{mixmim}_{pretrain}'),
    )


MICRO = Size(
    'micro',
    _rows(
        'vit-micro-p4',
        'mixmim-micro-w8',
        '1xb128-coslr-6e_cifar10-50percent',
        '1xb128-coslr-3e_cifar10',
    ),
    (Tuning(0.01, epochs=40, batch=64), Tuning(0.1, epochs=10), Tuning(1.0, epochs=3)),
    severities=(3,),
    corruption_share=0.2,
)
TINY = Size(
    'tiny',
    _rows(
        'vit-tiny-p4',
        'mixmim-tiny-w8',
        '1xb512-amp-coslr-400e_cifar10',
        '1xb512-amp-coslr-100e_cifar10',
    ),
    (
        Tuning(0.01, epochs=400, batch=64),
        Tuning(0.1, epochs=200),
        Tuning(1.0, epochs=100),
    ),
    severities=(1, 2, 3, 4, 5),
    corruption_share=1.0,
)
SIZES = {size.name: size for size in (MICRO, TINY)}
