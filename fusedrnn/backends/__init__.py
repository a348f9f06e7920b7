"""Which implementation serves a call, and the three that there are."""
