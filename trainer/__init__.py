"""The GAN: networks, losses, the training loop and the export."""
