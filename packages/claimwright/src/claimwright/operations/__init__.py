"""What can be done: one file per verb. Each operation fetches, lets the rules decide, stores."""
