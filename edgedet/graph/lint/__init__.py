"""What keeps a quantized graph from being fast, or right everywhere. One rule a function; `run` runs them all."""
