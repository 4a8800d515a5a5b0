"""The Blender worker: the only modules that import bpy, run in a separate interpreter and environment."""
