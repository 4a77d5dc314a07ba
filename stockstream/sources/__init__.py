"""Where ticks come from: one folder a venue, and files of recorded ticks."""
