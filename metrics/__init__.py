"""Pure functions that measure generated images against real ones."""
