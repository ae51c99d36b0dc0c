"""The report: one HTML page of what the pipeline found. Needs neither TensorFlow nor TFX."""
