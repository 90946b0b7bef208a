"""The training loop, its schedules, and everything that makes a run resumable to the bit."""
