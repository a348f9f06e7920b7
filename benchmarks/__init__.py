"""Measurements and machine-code checks; nothing here is part of the installed package."""
