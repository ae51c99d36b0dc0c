"""Where a model comes from: reads ML Metadata of this and of any other TFX pipeline."""
