"""mmcv's compiled operators where mmcv has none: torchvision's, behind mmcv's names.

mmdet and mmseg import ``mmcv._ext``, which a pip install of mmcv does not compile. The
finder below is asked for it only when nothing else has it, so a compiled mmcv is never
shadowed. ``nms`` and average ``roi_align`` are all that Mask R-CNN and Cascade R-CNN
call; any other operator says, when called, what to install.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAME = 'mmcv._ext'
AVERAGE = 1  # mmcv's number of a pool mode
ABSENT = 'none (torchvision by mim_zoo.mmcv_ops)'


def nms(bboxes: Any, scores: Any, iou_threshold: float, offset: int) -> Any:
    """Indices (K,) of the boxes kept, best first; boxes (N, 4), scores (N,).

    ``offset`` 1: a box from x1 to x2 is x2 - x1 + 1 wide.
    """
    from torchvision.ops import nms as torchvision_nms

    corners = bboxes.float()
    if offset:  # then widths, heights and what boxes share are larger by 1
        corners = corners + corners.new_tensor([0, 0, offset, offset])
    return torchvision_nms(corners, scores.float(), iou_threshold)


def roi_align_forward(
    input: Any,
    rois: Any,
    output: Any,
    argmax_y: Any,
    argmax_x: Any,
    **how: Any,
) -> None:
    """Fill ``output`` (K, C, h, w) from maps (B, C, H, W) and rois (K, 5).

    Computed in float32 at least: half precision cannot tell neighbouring pixels apart.
    ValueError for another mode than the average.
    """
    import torch
    from torchvision.ops import roi_align

    _check_average(how['pool_mode'])
    dtype = torch.promote_types(input.dtype, torch.float32)
    pooled = roi_align(
        input.to(dtype),
        rois.to(dtype),
        (how['aligned_height'], how['aligned_width']),
        spatial_scale=how['spatial_scale'],
        sampling_ratio=how['sampling_ratio'],
        aligned=how['aligned'],
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Any,
    rois: Any,
    argmax_y: Any,
    argmax_x: Any,
    grad_input: Any,
    **how: Any,
) -> None:
    """Fill ``grad_input`` (B, C, H, W) from ``grad_output`` (K, C, h, w)."""
    import torch
    import torchvision  # noqa: F401  registers its operators

    _check_average(how['pool_mode'])
    dtype = torch.promote_types(grad_output.dtype, torch.float32)
    grad = torch.ops.torchvision._roi_align_backward(
        grad_output.to(dtype),
        rois.to(dtype),
        how['spatial_scale'],
        how['aligned_height'],
        how['aligned_width'],
        *grad_input.shape,
        how['sampling_ratio'],
        how['aligned'],
    )
    grad_input.copy_(grad)


def _check_average(pool_mode: int) -> None:
    if pool_mode != AVERAGE:
        raise ValueError(
            "roi_align: got pool_mode='max', expected 'avg': without its compiled "
            'operators mmcv has only the average here; ' + _remedy()
        )


def _remedy() -> str:
    return (
        'compile mmcv (needs a compiler; for a GPU the CUDA toolkit): pip install '
        '--force-reinstall --no-deps --no-build-isolation --no-binary onedl-mmcv '
        'onedl-mmcv'
    )


def _missing(name: str) -> Callable[..., Any]:
    def operator(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f'mmcv has no compiled operator "{name}" here; mim_zoo stands in for nms '
            f'and roi_align only. To use it, {_remedy()}.'
        )

    operator.__name__ = name
    return operator


class _Operators(ModuleType):
    """The module ``mmcv._ext``: every name is an operator."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith('__'):
            raise AttributeError(name)
        return _missing(name)


class OperatorFinder(MetaPathFinder, Loader):
    """Finds ``mmcv._ext`` for whoever looked everywhere else."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """The module's specification, None for any other name."""
        return ModuleSpec(fullname, self) if fullname == NAME else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty module of operators."""
        return _Operators(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Put in what there is."""
        for operator in (nms, roi_align_forward, roi_align_backward):
            setattr(module, operator.__name__, operator)
        for name in ('get_compiler_version', 'get_compiling_cuda_version'):
            setattr(module, name, lambda: ABSENT)


def install() -> None:
    """Let Python ask the finder last; nothing is imported."""
    if not any(isinstance(finder, OperatorFinder) for finder in sys.meta_path):
        sys.meta_path.append(OperatorFinder())
