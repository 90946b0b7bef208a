"""What the heads are trained with: losses and the assignment of points to objects."""
