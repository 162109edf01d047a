"""Registries of the scope ``mim_zoo``, children of MMEngine's.

``from mim_zoo.registry import MODELS`` and ``@MODELS.register_module()`` are all a
new part needs; a type not found here is looked up in MMEngine's root registries.
"""

from mmengine import registry as root

SCOPE = 'mim_zoo'


def _child(name: str, parent: root.Registry, location: str) -> root.Registry:
    return root.Registry(
        name, parent=parent, scope=SCOPE, locations=[f'{SCOPE}.{location}']
    )


MODELS = _child('model', root.MODELS, 'models')
TRANSFORMS = _child('transform', root.TRANSFORMS, 'datasets')
DATASETS = _child('dataset', root.DATASETS, 'datasets')
DATA_SAMPLERS = _child('data sampler', root.DATA_SAMPLERS, 'datasets')
FUNCTIONS = root.FUNCTIONS  # the runner looks a collate function up in the root only
HOOKS = _child('hook', root.HOOKS, 'engine')
LOOPS = _child('loop', root.LOOPS, 'engine')
RUNNERS = _child('runner', root.RUNNERS, 'engine')
OPTIMIZERS = _child('optimizer', root.OPTIMIZERS, 'engine')
OPTIM_WRAPPERS = _child('optim_wrapper', root.OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', root.OPTIM_WRAPPER_CONSTRUCTORS, 'engine'
)
METRICS = _child('metric', root.METRICS, 'evaluation')

PARAM_SCHEDULERS = _child('parameter scheduler', root.PARAM_SCHEDULERS, 'engine')

# Nothing is registered here yet; without children, MMEngine warns at every look-up.
MODEL_WRAPPERS = _child('model_wrapper', root.MODEL_WRAPPERS, 'engine')
STRATEGIES = _child('strategy', root.STRATEGIES, 'engine')
EVALUATOR = _child('evaluator', root.EVALUATOR, 'evaluation')
VISUALIZERS = _child('visualizer', root.VISUALIZERS, 'visualization')
VISBACKENDS = _child('vis_backend', root.VISBACKENDS, 'visualization')
LOG_PROCESSORS = _child('log_processor', root.LOG_PROCESSORS, 'engine')
WEIGHT_INITIALIZERS = _child('weight initializer', root.WEIGHT_INITIALIZERS, 'models')
