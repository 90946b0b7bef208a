"""The main job from start to end on generated images: what `edgedet demo` runs."""
