"""The pipeline's own TFX components, one file each."""
