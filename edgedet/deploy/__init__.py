"""What goes onto a device: which engine, and with it what else is needed."""
