"""GeneratorValidator: a server must answer for a generator before it is pushed."""
