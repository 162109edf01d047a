"""torchvision's operators behind mmcv's names."""

import importlib.util
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from mim_zoo import mmcv_ops

POOL = dict(spatial_scale=0.25, sampling_ratio=2, aligned=True)
SHAPE = (4, 3)


def boxes(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 4, generator=generator) * 60
    corners[:, 2:] += corners[:, :2] + 1
    return corners, torch.rand(count, generator=generator)


@pytest.mark.parametrize('offset', [0, 1])
def test_nms_keeps_the_best_of_those_that_overlap(offset: int) -> None:
    corners, scores = boxes(80)
    grown = corners + torch.tensor([0, 0, offset, offset])
    overlap = box_iou(grown, grown)
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        if all(overlap[i, j] <= 0.4 for j in kept):
            kept.append(i)
    assert mmcv_ops.nms(corners, scores, 0.4, offset).tolist() == kept


def align(maps: Tensor, rois: Tensor) -> Tensor:
    output = maps.new_zeros(len(rois), maps.shape[1], *SHAPE)
    how = dict(aligned_height=SHAPE[0], aligned_width=SHAPE[1], pool_mode=1, **POOL)
    none = maps.new_zeros(0)
    mmcv_ops.roi_align_forward(maps, rois, output, none, none, **how)
    return output


def test_a_ramp_is_read_where_the_box_is() -> None:
    maps = torch.arange(16.0).expand(1, 1, 16, 16)
    rois = torch.tensor([[0.0, 8, 8, 32, 40]])  # 2 to 8 in cells of 4 pixels
    columns = 2 + (torch.arange(3) + 0.5) * 2 - 0.5  # aligned: half a cell back
    torch.testing.assert_close(align(maps, rois), columns.expand(1, 1, 4, 3))


def test_half_precision_does_not_move_boxes() -> None:
    maps = torch.arange(300.0).expand(1, 1, 8, 300)
    rois = torch.tensor([[0.0, 1001, 4, 1031, 20]])
    exact = align(maps, rois)
    found = align(maps.half(), rois)
    torch.testing.assert_close(found.float(), exact, rtol=1e-3, atol=0.2)


def test_the_backward_is_that_of_the_forward() -> None:
    maps = torch.randn(2, 3, 16, 16, dtype=torch.double)
    corners, _ = boxes(5)
    rois = torch.cat([torch.tensor([0, 0, 1, 1, 0])[:, None], corners], 1).double()
    grad, found = torch.randn(5, 3, *SHAPE, dtype=torch.double), torch.zeros_like(maps)
    how = dict(aligned_height=SHAPE[0], aligned_width=SHAPE[1], pool_mode=1, **POOL)
    none = maps.new_zeros(0)
    mmcv_ops.roi_align_backward(grad, rois, none, none, found, **how)
    other = torch.randn_like(maps)  # the forward is linear: <A x, g> = <x, A^T g>
    torch.testing.assert_close((align(other, rois) * grad).sum(), (other * found).sum())


@pytest.mark.parametrize('operator', ['roi_align_forward', 'roi_align_backward'])
def test_the_maximum_is_refused(operator) -> None:
    x, none = torch.zeros(1, 1, 4, 4), torch.zeros(0)
    arguments = (x, torch.zeros(1, 5), x, none, none)
    with pytest.raises(ValueError, match="got pool_mode='max', expected 'avg'"):
        getattr(mmcv_ops, operator)(
            *arguments, aligned_height=2, aligned_width=2, pool_mode=0, **POOL
        )


def test_the_finder_knows_one_name() -> None:
    finder = mmcv_ops.OperatorFinder()
    assert finder.find_spec('mmcv._flow_warp_ext', None) is None
    spec = finder.find_spec('mmcv._ext', None)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.nms is mmcv_ops.nms
    assert not hasattr(module, '__wrapped__')
    with pytest.raises(NotImplementedError, match=r'"softnms".*compile mmcv'):
        module.softnms(1, iou_threshold=0.5)


def python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_import_brings_in_neither_torch_nor_mmcv() -> None:
    found = python(
        'import sys, mim_zoo; '
        'print(sorted({"torch", "mmcv", "numpy"} & {*sys.modules}))'
    )
    assert found.strip() == '[]'


def test_a_compiled_mmcv_is_left_alone(tmp_path) -> None:
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').touch()
    (tmp_path / 'mmcv' / '_ext.py').write_text('nms = "compiled"')
    found = python(
        f'import sys; sys.path.insert(0, {str(tmp_path)!r}); import mim_zoo;'
        'import mmcv._ext; print(mmcv._ext.nms)'
    )
    assert found.strip() == 'compiled'


def test_mmcv_imports_and_runs_after_mim_zoo() -> None:
    pytest.importorskip('mmcv')
    found = python(
        'import mim_zoo, torch; from mmcv.ops import nms, RoIAlign;'
        'kept = nms(torch.tensor([[0., 0, 9, 9], [1, 0, 9, 9]]), torch.ones(2), 0.5);'
        'x = torch.ones(1, 2, 8, 8, requires_grad=True);'
        'y = RoIAlign(3)(x, torch.tensor([[0., 1, 1, 5, 5]])); y.sum().backward();'
        'print(len(kept[1]), y.mean().item(), round(x.grad.sum().item(), 4))'
    )
    assert found.split() == ['1', '1.0', '18.0']


def compiled() -> bool:
    """Whether mmcv has operators of its own."""
    if importlib.util.find_spec('mmcv') is None:
        return False
    import mmcv._ext

    return not isinstance(mmcv._ext, mmcv_ops._Operators)


@pytest.mark.skipif(not compiled(), reason='needs an mmcv with compiled operators')
def test_compiled_operators_agree() -> None:
    import mmcv._ext as theirs

    corners, scores = boxes(300, seed=1)
    for offset in (0, 1):
        expected = theirs.nms(corners, scores, iou_threshold=0.5, offset=offset)
        assert torch.equal(mmcv_ops.nms(corners, scores, 0.5, offset), expected)
    maps = torch.randn(2, 3, 32, 32)
    rois = torch.cat([torch.randint(2, (300, 1)).float(), corners], 1)
    for sampling, aligned in ((0, True), (2, True), (2, False)):
        how = dict(aligned_height=7, aligned_width=7, spatial_scale=0.25, pool_mode=1)
        how.update(sampling_ratio=sampling, aligned=aligned)
        outputs, none = [], maps.new_zeros(0)
        grad = torch.randn(300, 3, 7, 7)
        for ops in (theirs, mmcv_ops):
            output, grad_input = maps.new_zeros(300, 3, 7, 7), torch.zeros_like(maps)
            ops.roi_align_forward(maps, rois, output, none, none, **how)
            ops.roi_align_backward(grad, rois, none, none, grad_input, **how)
            outputs.append((output, grad_input))
        torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-5)
