"""From a float detector to an INT8 one: calibration."""
