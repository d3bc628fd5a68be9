"""What a run is made of: footprints, schedules, verdicts. Values only, no input or output."""
