"""ExampleSchema: the inferred schema, and what every example of this project must be."""
