"""Who goes next. Schedulers are pure: they see options and footprints, and touch nothing else."""
