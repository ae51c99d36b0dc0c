"""The models that this project descends from, a module each: networks and how they play."""
