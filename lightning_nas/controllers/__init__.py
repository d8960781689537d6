"""Controllers: distributions over the architectures of a space, and how they learn from rewards."""

from lightning_nas.controllers.base import Controller
from lightning_nas.controllers.forms import form_of, program_of
from lightning_nas.controllers.lstm import LstmController
from lightning_nas.controllers.presets import depth_after, enas_settings, nas_settings
from lightning_nas.controllers.reinforce import Reinforce
from lightning_nas.controllers.samples import Samples
from lightning_nas.controllers.uniform import UniformController

__all__ = [
    "Controller",
    "LstmController",
    "Reinforce",
    "Samples",
    "UniformController",
    "depth_after",
    "enas_settings",
    "form_of",
    "nas_settings",
    "program_of",
]
