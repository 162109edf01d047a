"""What ``init_cfg`` may say of a checkpoint."""

import pytest

from mim_zoo.engine.loading import save_state_dict
from mim_zoo.models import MIMViT

MICRO = dict(arch='micro', img_size=16, patch_size=4)


@pytest.mark.parametrize(
    ('init', 'words'),
    [
        ([dict(type='Pretrained', checkpoint='f'), dict(type='Xavier')], '2 entries'),
        (dict(type='Pretrained', checkpoint='f', foo=1), 'foo'),
        (dict(type='Xavier', checkpoint='f'), 'Xavier'),
    ],
)
def test_a_checkpoint_of_init_cfg_is_never_half_understood(init, words):
    with pytest.raises(ValueError, match=words):
        MIMViT(**MICRO, init_cfg=init).init_weights()


def test_a_checkpoint_in_a_list_is_checked_alike(tmp_path):
    weights = MIMViT(**MICRO).state_dict().items()
    state = {f'backbone.{name}': value for name, value in weights}
    save_state_dict(state, tmp_path / 'w.pth')
    deeper = dict(embed_dim=96, depth=8, num_heads=3)
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'w.pth'))
    for arch, wrong in ((deeper, True), ('micro', False)):
        made = dict(MICRO, arch=arch)
        model = MIMViT(**made, init_cfg=[dict(init, prefix='backbone.')])
        if wrong:
            with pytest.raises(ValueError, match=r'min_share|stay random'):
                model.init_weights()
        else:
            model.init_weights()
            assert model.is_init
