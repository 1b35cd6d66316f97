"""C-arm geometry, sparse cone-beam projector and back-projection."""

from generators.carm.backproject import adjoint, hull
from generators.carm.grid import Grid
from generators.carm.projector import project, project_views, silhouette
from generators.carm.view import View

__all__ = ["Grid", "View", "adjoint", "hull", "project", "project_views", "silhouette"]
