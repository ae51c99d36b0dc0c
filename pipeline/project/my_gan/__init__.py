"""A generator of your own images: settings, networks and pipeline."""
