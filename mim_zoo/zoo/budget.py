"""How much of a comparison is run."""

from dataclasses import dataclass

from mim_zoo.datasets.corruptions import SEVERITIES


@dataclass(frozen=True)
class Budget:
    """How much is run; as it comes, what the committed results were run with.

    Args:
        steps: of 'pretrain', 'finetune-1percent', 'finetune-10percent',
            'finetune-100percent' and 'corrupted'; None for all.
        epochs: of pre-training; None for the config's.
        tuning_epochs: those of a size's ``Tuning`` times this.
        severities: of corruptions, 1 to 5; None for the size's.
        corruption_share: of the test images, to corrupt; None for the size's.
        options: of every command that trains, as after ``--cfg-options``.
    """

    steps: tuple[str, ...] | None = None
    epochs: int | None = None
    tuning_epochs: float = 1.0
    severities: tuple[int, ...] | None = None
    corruption_share: float | None = None
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """ValueError for a value out of range."""
        for name, value in (
            ('epochs', self.epochs),
            ('tuning-epochs', self.tuning_epochs),
        ):
            if value is not None and value <= 0:
                raise ValueError(f'--{name}: got {value}, expected more than 0')
        for severity in self.severities or ():
            if severity not in SEVERITIES:
                raise ValueError(f'--severities: got {severity}, expected 1 to 5')
        share = self.corruption_share
        if share is not None and not 0 < share <= 1:
            raise ValueError(
                f'--corruption-share: got {share}, expected more than 0, at most 1'
            )
