"""The backend "auto" on a GPU: measure both implementations, keep the faster, and remember it."""
