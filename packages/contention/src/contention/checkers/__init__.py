"""Whether what happened may happen. Checkers look at values and touch nothing else."""
