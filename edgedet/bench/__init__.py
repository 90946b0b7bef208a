"""Measuring: latency, with the protocol it was measured under."""
