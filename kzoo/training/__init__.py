"""Training: recipes, the loop, full-state backup and resume, and what a run leaves behind."""

from kzoo.training.backup import NonFiniteError
from kzoo.training.fitting import Run, fit
from kzoo.training.recipe import Recipe, TransformerSchedule
from kzoo.training.run_folder import newest_run, open_run

__all__ = ["NonFiniteError", "Recipe", "Run", "TransformerSchedule", "fit", "newest_run", "open_run"]
