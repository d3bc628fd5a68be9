"""Runs of workers under a scheduler, and the judgement of what they leave behind."""
