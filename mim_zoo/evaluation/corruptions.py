"""Errors on corrupted images in one figure (1903.12261)."""

from collections.abc import Mapping
from statistics import fmean

from mim_zoo.datasets.corruptions import CORRUPTIONS, SEVERITIES

# Of AlexNet on ImageNet-C, top-1 errors in percent, the mean over severities; published
# with 1903.12261.
ALEXNET = dict(
    zip(
        CORRUPTIONS,
        (
            *(88.6428, 89.4468, 92.2640, 81.9880, 82.6268, 78.5948, 79.8360, 86.6816),
            *(82.6572, 81.9324, 56.4592, 85.3204, 64.6056, 71.7840, 60.6500),
        ),
    )
)
Errors = Mapping[str, Mapping[int, float]]  # {corruption: {severity: percent}}


def mean_error(errors: Errors) -> float:
    """Plain mean corruption error: over corruptions of the mean over severities."""
    return fmean(fmean(found.values()) for found in errors.values())


def normalized_error(errors: Errors) -> float:
    """mCE: each corruption's mean error in percent of AlexNet's, then their mean.

    For ImageNet's 1000 classes. ValueError unless all 15 corruptions at all 5
    severities are there.
    """
    missing = [
        f'{name} {severity}'
        for name in CORRUPTIONS
        for severity in SEVERITIES
        if severity not in errors.get(name, {})
    ]
    if missing:
        raise ValueError(
            f'mCE: {len(missing)} of 75 errors are missing, such as {missing[0]}; '
            'measure all corruptions at all severities'
        )
    return fmean(
        100 * fmean(errors[name].values()) / ALEXNET[name] for name in CORRUPTIONS
    )


def corruption_metrics(errors: Errors, imagenet: bool) -> dict[str, float]:
    """``mCE_plain``, and ``mCE_normalised`` where that has a meaning, in percent.

    Args:
        imagenet: whether the errors are of all of ImageNet's validation images and
            classes, as AlexNet's are.
    """
    metrics = dict(mCE_plain=mean_error(errors))
    whole = set(errors) == set(CORRUPTIONS) and all(
        set(found) == set(SEVERITIES) for found in errors.values()
    )
    if whole and imagenet:
        metrics['mCE_normalised'] = normalized_error(errors)
    return metrics
