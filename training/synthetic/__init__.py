"""Rendered training images: a seed gives a SceneSpec, Blender renders it, a sensor degrades it, a mask labels it."""
