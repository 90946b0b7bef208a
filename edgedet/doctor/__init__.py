"""What works on this device, what is missing, and how to get it."""
