"""C-arm geometry, sparse cone-beam projector and back-projection."""

from lesionforge.generators.carm.backproject import adjoint, hull
from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.projector import project, project_views, silhouette
from lesionforge.generators.carm.view import View

__all__ = ["Grid", "View", "adjoint", "hull", "project", "project_views", "silhouette"]
