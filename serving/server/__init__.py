"""A thin server that speaks TF Serving's API, for machines where TF Serving itself is not at hand.

Read in this order: `flags` (the command line), `errors`, `versions_manager` (which versions are
loaded), `engine` (one loaded SavedModel), `batching` (requests computed together), `inference`
(what the five calls mean), `rest` and `grpc_service` (the two entry points), `metrics`, `main`
(start to end).
"""
