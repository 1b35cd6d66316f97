"""``lesionforge read``: a patient's angiographic runs, read by the models of the tasks, or by baselines."""
