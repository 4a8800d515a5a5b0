"""Blender's side: the only importers of bpy, run in an interpreter and environment of their own as a worker."""
