"""Run folders: paths, atomic files, tensors on disk, the manifest."""
