"""Pusher: moves a blessed generator into the serving directory, atomically."""
