"""A pushed generator as one C++ program without TensorFlow; `README.md` says how."""
