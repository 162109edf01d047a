"""Packaging; ``mim_zoo/.mim`` is where OpenMMLab's ``mim`` looks for configs and tools.

A wheel gets copies of ``configs``, ``tools`` and ``model-index.yml`` there, an editable
install links; ``mim_zoo.paths`` finds the copies by name.
"""

import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = ('configs', 'tools', 'model-index.yml')


def requirements(name):
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def shipped_files():
    for source in SHIPPED:
        path = ROOT / source
        for file in sorted(path.rglob('*')) if path.is_dir() else [path]:
            if file.is_file() and '__pycache__' not in file.parts:
                yield file


class BuildWithConfigs(build_py):
    def run(self):
        super().run()
        if self.editable_mode:
            link_into(ROOT / 'mim_zoo' / '.mim')
            return
        for file in shipped_files():
            target = self.mim_folder / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)

    @property
    def mim_folder(self):
        return Path(self.build_lib) / 'mim_zoo' / '.mim'

    def get_outputs(self, include_bytecode=True):
        outputs = super().get_outputs(include_bytecode)
        if self.editable_mode:
            return outputs
        files = [self.mim_folder / file.relative_to(ROOT) for file in shipped_files()]
        return outputs + [str(file) for file in files]


def link_into(folder):
    folder.mkdir(exist_ok=True)
    for source in SHIPPED:
        link = folder / source
        if not link.is_symlink() and (ROOT / source).exists():
            link.symlink_to(Path('..', '..', source))


EXTRAS = {name: requirements(name) for name in ('detection', 'segmentation', 'tests')}

setup(
    name='mim-zoo',
    version=runpy.run_path(str(ROOT / 'mim_zoo' / 'version.py'))['__version__'],
    description='Masked image modelling on MMEngine: MAE and its relatives',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    python_requires='>=3.10',
    packages=find_packages(include=['mim_zoo', 'mim_zoo.*']),
    package_data={'mim_zoo': ['py.typed']},
    install_requires=requirements('runtime'),
    extras_require={**EXTRAS, 'all': sorted({r for e in EXTRAS.values() for r in e})},
    cmdclass={'build_py': BuildWithConfigs},
    zip_safe=False,
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
