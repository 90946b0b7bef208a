"""One file for each family, with torchvision's parameter names."""
