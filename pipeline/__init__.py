"""The pipeline as a whole: settings, the DAG, the runners and the command line."""
