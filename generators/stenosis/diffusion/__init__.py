"""Backend ``diffusion``: Stable-Diffusion inpainting with two ControlNets (DiGDA, section 2.2), on diffusers' classes.

Nothing here imports torch before a model is made or loaded.
"""

from lesionforge.generators.stenosis.diffusion.editor import DiffusionEditor

__all__ = ["DiffusionEditor"]
