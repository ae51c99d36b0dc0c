"""What is served: the generator's contract, its versions, the server and its client."""
