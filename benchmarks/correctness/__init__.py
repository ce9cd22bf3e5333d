"""What holds for every real song, what is found, and what a run survives."""
