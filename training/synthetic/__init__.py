"""Rendered training images: a seed becomes a SceneSpec, Blender renders it, the sensor spoils it, a mask labels it."""
