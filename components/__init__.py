"""The pipeline's own TFX components, one folder each."""
