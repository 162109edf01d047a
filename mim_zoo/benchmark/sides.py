"""What is measured: a config of ours, a peer's config for the same model."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mim_zoo.cli import find_config
from mim_zoo.models import MIM
from mim_zoo.models.encoder import Encoder
from mim_zoo.options import checked_options
from mim_zoo.paths import read_config, shipped_configs
from mim_zoo.registry import MODELS, SCOPE

from .names import read_name

PEERS = ('mmpretrain',)


@dataclass(frozen=True)
class Side:
    """A model and its optimizer, as plain values that another process can read.

    Args:
        config: the name of the config they come from.
        package: whose registries build them, and whose batches they take.
        options: what was changed in the config.
    """

    name: str
    config: str
    package: str
    model: dict[str, Any]
    optim_wrapper: dict[str, Any]
    imports: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def methods() -> dict[tuple[str, str], str]:
    """{(method, size): config} of the pre-training configs for ImageNet."""
    found: dict[tuple[str, str], str] = {}
    for name in shipped_configs():
        parts = read_name(Path(name).stem)
        if parts.method and parts.size and name.endswith('_in1k.py'):
            # schedules of one model differ in nothing that is measured
            found.setdefault((parts.method, parts.size), name)
    return found


def config_of(method: str, size: str) -> str:
    """The config of a method at a size, by its name below configs/."""
    known = methods()
    if (method, size) not in known:
        pairs = ', '.join(f'{m} {s}' for m, s in sorted(known))
        raise ValueError(
            f'--method {method} --size {size}: expected one of {pairs}; or name a '
            'config with --config'
        )
    return known[method, size]


def our_side(config: str, options: Mapping[str, Any], name: str = 'mim_zoo') -> Side:
    """The model and optimizer of a config with changes in it."""
    path, cfg = _read(config, options)
    for part in ('model', 'optim_wrapper'):
        if cfg.get(part) is None:
            raise ValueError(f'{config}: the config has no {part}, nothing to measure')
    if not _is_a(cfg.model, MIM):
        raise ValueError(
            f'{config}: its model is {cfg.model.type}, expected masked image '
            'modelling, such as MAE or MixMIM'
        )
    return _side(cfg, name, path.stem, SCOPE, options)


def encoder_side(
    config: str, options: Mapping[str, Any], name: str = 'mim_zoo'
) -> Side:
    """The encoder of a config, whatever the config trains, with random weights."""
    path, cfg = _read(config, options)
    encoder = cfg.get('model', {}).get('backbone')
    if encoder is None or not _is_a(encoder, Encoder):
        found = encoder.get('type') if encoder else 'none'
        raise ValueError(
            f'{config}: its model.backbone is {found}, expected an encoder of mim_zoo, '
            'such as MIMViT or MixMIMViT'
        )
    cfg.model = {**encoder, 'init_cfg': None}
    cfg.optim_wrapper = {}
    return _side(cfg, name, path.stem, SCOPE, options)


def _read(config: str, options: Mapping[str, Any]) -> tuple[Path, Config]:
    path = find_config(config)
    cfg = read_config(path)
    cfg.merge_from_dict(checked_options(cfg, options))
    return path, cfg


def _is_a(part: Mapping[str, Any], kind: type) -> bool:
    found = MODELS.get(str(part['type']))
    return isinstance(found, type) and issubclass(found, kind)


def peer_side(peer: str, config: str | None, ours: Side) -> Side:
    """The peer's config of that name below its configs/, or of the model of ours."""
    if peer not in PEERS:
        raise ValueError(f'--peer: got {peer!r}, expected one of {", ".join(PEERS)}')
    spec = importlib.util.find_spec(peer)
    if spec is None or spec.origin is None:
        raise ValueError(
            f'--peer {peer}: it is not installed here; pip install onedl-{peer} into '
            'this environment, or leave out --peer'
        )
    package = Path(spec.origin).parent
    folders = [package / '.mim' / 'configs', package.parent / 'configs']
    root = next((folder for folder in folders if folder.is_dir()), folders[0])
    path = root / config if config else _same_model(root, peer, ours)
    if not path.is_file():
        raise ValueError(f'--peer-config: {peer} has no {config} below its configs/')
    cfg = Config.fromfile(path)
    if cfg.get('data_preprocessor'):  # as MMEngine's runner hands it to the model
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return _side(cfg, peer, path.stem, peer)


def _same_model(root: Path, peer: str, ours: Side) -> Path:
    family = read_name(ours.config).family
    if family:
        for path in sorted(root.glob(f'*/{family}[-_]*_in1k.py')):
            return path
    wanted = family or ours.config
    raise ValueError(
        f'--peer {peer}: it has no config named {wanted}..._in1k.py; name one with '
        '--peer-config'
    )


def _side(
    cfg: Config,
    name: str,
    config: str,
    package: str,
    options: Mapping[str, Any] | None = None,
) -> Side:
    plain = cfg.to_dict()
    return Side(
        name=name,
        config=config,
        package=package,
        model=plain['model'],
        optim_wrapper=plain['optim_wrapper'],
        imports=tuple(plain.get('custom_imports', {}).get('imports', ())),
        options=dict(options or {}),
    )
