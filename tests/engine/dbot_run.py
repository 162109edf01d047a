"""A toy run of dBOT in two stages, and a look at its teacher and student."""

import torch

PER_EPOCH = 6


def dbot(hook=None, boundaries=(1,), **given):
    """Options of a toy run of two stages, six iterations an epoch, three epochs."""
    hook = hook or dict(type='BootstrapHook', boundaries=list(boundaries))
    recorder = dict(
        type='ToyRecorder', at=given.pop('at', None), action=given.pop('action', 'kill')
    )
    encoder = dict(
        type='MIMViT',
        arch=dict(embed_dim=16, depth=2, num_heads=2),
        img_size=8,
        patch_size=2,
        drop_path_rate=0.1,
    )
    head = dict(
        type='MIMHead',
        target=dict(type='TeacherTarget', norm=False, normalize=True),
        decoder=dict(type='TransformerDecoder', embed_dim=16, depth=1, num_heads=2),
        loss=dict(type='MaskedSmoothL1', beta=2.0),
        score_prefix=True,
    )
    data = dict(type='ToyData', shape=[3, 8, 8])
    options = dict(
        model=dict(
            type='DBOT',
            backbone=encoder,
            corruption=dict(type='DropPatches'),
            head=head,
            data_preprocessor=dict(
                type='MIMDataPreprocessor',
                mean=[0.0] * 3,
                std=[1.0] * 3,
                batch_transforms=[dict(type='RandomMasking', ratio=0.75)],
            ),
        ),
        train_dataloader=dict(
            batch_size=given.pop('batch_size', 4),
            num_workers=0,
            dataset=data,
            sampler=dict(type='EpochSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
        ),
        param_scheduler=[
            dict(
                type='StagedCosineLR',
                warmup=2,
                boundaries=[b * PER_EPOCH for b in boundaries],
                end=3 * PER_EPOCH,
                by_epoch=False,
            )
        ],
        optim_wrapper=dict(
            optimizer=dict(type='AdamW', lr=0.01),
            constructor='LayerDecayConstructor',
        ),
        custom_hooks=[hook, recorder],
        max_epochs=3,
    )
    return {**options, **given}


def encoders(runner):
    model = runner.model
    return model.head.target.teacher.encoder, model.backbone


class Watch:
    """Copies of teacher and student when an epoch begins and ends."""

    def __init__(self, runner):
        self.begins, self.ends = [], []
        call = runner.call_hook

        def watched(name, **given):
            if name == 'after_train_epoch':
                self.ends.append([self.copy(e) for e in encoders(runner)])
            call(name, **given)
            if name == 'before_train_epoch':
                self.begins.append([self.copy(e) for e in encoders(runner)])

        runner.call_hook = watched

    @staticmethod
    def copy(encoder):
        return {k: v.clone() for k, v in encoder.state_dict().items()}


def equal(one, other):
    return all(torch.equal(one[k], other[k]) for k in one)
