"""What keeps a quantized graph from being as fast as it could be. One rule a function; `run` runs them all."""
