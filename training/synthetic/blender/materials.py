"""Blender materials of a Surface: patterns of two colours, and the marks of a die."""

import bpy


def material_of(spec: dict, marks: bpy.types.Image | None = None, pips: dict | None = None, side: float = 1.0):
    """Return the material of a Surface.

    With the painted faces (`marks`), the Pips and the side of a die, return the material of the die.
    """
    material = bpy.data.materials.new("surface")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    bsdf = nodes["Principled BSDF"]
    colour, height = _pattern(nodes, links, spec)
    bsdf.inputs["Roughness"].default_value = spec["roughness"]
    bsdf.inputs["Metallic"].default_value = spec["metallic"]
    bsdf.inputs["Transmission Weight"].default_value = spec["transmission"]
    bsdf.inputs["IOR"].default_value = 1.5
    normal = None
    if height is not None and spec["bump"]:
        normal = _bump(nodes, links, height, spec["bump"], None)
    if marks is not None:
        picture = nodes.new("ShaderNodeTexImage")
        picture.image = marks
        picture.interpolation = "Cubic"
        split = nodes.new("ShaderNodeSeparateColor")
        links.new(picture.outputs["Color"], split.inputs["Color"])
        paint = _mix(nodes, links, split.outputs["Blue"], pips["rgb"], pips["ace_rgb"])
        colour = _mix(nodes, links, split.outputs["Red"], colour, paint)
        for name, on_pip in (("Transmission Weight", 0.0), ("Metallic", 0.0), ("Roughness", 0.5)):
            blend = nodes.new("ShaderNodeMix")
            links.new(split.outputs["Red"], blend.inputs["Factor"])
            blend.inputs["A"].default_value = bsdf.inputs[name].default_value
            blend.inputs["B"].default_value = on_pip
            links.new(blend.outputs["Result"], bsdf.inputs[name])
        if pips["depth"]:
            normal = _bump(nodes, links, split.outputs["Green"], pips["depth"] * side, normal)
    links.new(colour, bsdf.inputs["Base Color"])
    if normal is not None:
        links.new(normal, bsdf.inputs["Normal"])
    return material


def _bump(nodes, links, height, distance, normal):
    bump = nodes.new("ShaderNodeBump")
    bump.inputs["Distance"].default_value = distance
    links.new(height, bump.inputs["Height"])
    if normal is not None:
        links.new(normal, bump.inputs["Normal"])
    return bump.outputs["Normal"]


def _mix(nodes, links, factor, a, b):
    """Blend two colours, each a socket or linear RGB, by the socket `factor`."""
    mix = nodes.new("ShaderNodeMix")
    mix.data_type = "RGBA"
    links.new(factor, mix.inputs["Factor"])
    for name, value in (("A", a), ("B", b)):
        socket = next(s for s in mix.inputs if s.name == name and s.type == "RGBA")
        if isinstance(value, bpy.types.NodeSocket):
            links.new(value, socket)
        else:
            socket.default_value = (*value, 1.0)
    return next(s for s in mix.outputs if s.type == "RGBA")


def _pattern(nodes, links, spec):
    """Return the sockets of a pattern's colour and height; height is None for a plain surface."""
    if spec["pattern"] == "plain":
        plain = nodes.new("ShaderNodeRGB")
        plain.outputs[0].default_value = (*spec["rgb"], 1.0)
        return plain.outputs[0], None
    where = nodes.new("ShaderNodeTexCoord").outputs["Object"]
    factor = _FACTORS[spec["pattern"]](nodes, links, where, spec["scale"])
    colour = _mix(nodes, links, factor, spec["rgb"], spec["rgb2"])
    if spec["pattern"] == "tiles":  # each tile has its own hue and shade
        hues = factor.node.inputs["Color"].links[0].from_socket
        colour = _mix(nodes, links, _constant(nodes, 0.5), colour, hues)
    return colour, factor


def _constant(nodes, value):
    node = nodes.new("ShaderNodeValue")
    node.outputs[0].default_value = value
    return node.outputs[0]


def _texture(nodes, links, where, kind, output, **values):
    texture = nodes.new(kind)
    links.new(where, texture.inputs["Vector"])
    for name, value in values.items():
        if name in texture.inputs:
            texture.inputs[name].default_value = value
        else:
            setattr(texture, name, value)
    return texture.outputs[output]


def _noise(nodes, links, where, scale):
    return _contrast(
        nodes, links, _texture(nodes, links, where, "ShaderNodeTexNoise", "Fac", Scale=scale * 4, Detail=2.5), 0.4, 0.6
    )


def _marble(nodes, links, where, scale):
    value = _texture(nodes, links, where, "ShaderNodeTexNoise", "Fac", Scale=scale, Detail=2, Distortion=2.5)
    return _contrast(nodes, links, value, 0.42, 0.58)


def _wood(nodes, links, where, scale):
    stretch = nodes.new("ShaderNodeMapping")
    stretch.inputs["Scale"].default_value = (1.0, 0.12, 1.0)
    links.new(where, stretch.inputs["Vector"])
    return _texture(
        nodes, links, stretch.outputs[0], "ShaderNodeTexNoise", "Fac", Scale=scale * 5, Detail=3, Distortion=0.6
    )


def _cells(nodes, links, where, scale):
    return _texture(nodes, links, where, "ShaderNodeTexVoronoi", "Distance", Scale=scale * 3)


def _checker(nodes, links, where, scale):
    return _texture(nodes, links, where, "ShaderNodeTexChecker", "Fac", Scale=scale * 2)


def _weave(nodes, links, where, scale):
    return _texture(nodes, links, where, "ShaderNodeTexMagic", "Fac", Scale=scale * 12, turbulence_depth=1)


def _dots(nodes, links, where, scale):
    """Return the pattern of rows of round spots."""
    distance = _texture(nodes, links, where, "ShaderNodeTexVoronoi", "Distance", Scale=scale * 3, Randomness=0.0)
    return _contrast(nodes, links, distance, 0.24, 0.28)


def _tiles(nodes, links, where, scale):
    """Return the pattern of cells with one shade each, as on a game board."""
    colour = _texture(nodes, links, where, "ShaderNodeTexVoronoi", "Color", Scale=scale, Randomness=0.35)
    split = nodes.new("ShaderNodeSeparateColor")
    links.new(colour, split.inputs["Color"])
    return split.outputs["Red"]


def _print(nodes, links, where, scale):
    """Return the pattern of printed matter: patches of hard-edged bars and blots."""
    bars = _texture(nodes, links, where, "ShaderNodeTexBrick", "Fac", Scale=scale * 2)
    blots = _texture(nodes, links, where, "ShaderNodeTexVoronoi", "Distance", Scale=scale * 2)
    product = nodes.new("ShaderNodeMath")
    product.operation = "MAXIMUM"
    links.new(bars, product.inputs[0])
    links.new(_contrast(nodes, links, blots, 0.28, 0.3), product.inputs[1])
    return product.outputs[0]


def _contrast(nodes, links, value, low, high):
    spread = nodes.new("ShaderNodeMapRange")
    spread.inputs["From Min"].default_value = low
    spread.inputs["From Max"].default_value = high
    links.new(value, spread.inputs["Value"])
    return spread.outputs["Result"]


_FACTORS = {
    "noise": _noise,
    "marble": _marble,
    "wood": _wood,
    "cells": _cells,
    "checker": _checker,
    "weave": _weave,
    "print": _print,
    "dots": _dots,
    "tiles": _tiles,
}
