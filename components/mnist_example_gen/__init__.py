"""MnistExampleGen: TFDS images with labels as tf.Examples."""
