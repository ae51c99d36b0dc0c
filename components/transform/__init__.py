"""What TFX's Transform runs: pixels to [-1, 1] and back."""
