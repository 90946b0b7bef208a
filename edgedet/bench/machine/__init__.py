"""What figures depend on beside the model: the computer, its settings and its condition; and its power and memory."""
