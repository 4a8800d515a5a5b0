"""SceneSpec: everything in one rendered photo, drawn from a seed; plain data, no Blender.

World units are the side of a typical object; z is up, the ground is z = 0, and the camera looks at the origin. Colours
are linear RGB in 0..1. Angles are degrees.
"""

from dataclasses import asdict, dataclass
from typing import Any

MAX_LABELLED = 32767
"""Labelled things in a scene: Blender's object index is a signed 16-bit number."""

Vector = tuple[float, float, float]
Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Surface:
    """What something is made of; the fields are those of Blender's Principled BSDF, with a pattern of two colours.

    Attributes:
        pattern: `plain`, `noise`, `marble`, `wood`, `cells`, `checker`, `weave`, `print`, `dots`
            or `tiles`.
        rgb: the first colour.
        rgb2: the second; without meaning for `plain`.
        scale: of the pattern, repeats in a world unit.
        roughness: 0 is a mirror.
        metallic: 0 or 1, mostly.
        transmission: 1 is clear glass.
        bump: height of the pattern, world units.
    """

    pattern: str
    rgb: Rgb
    rgb2: Rgb
    scale: float
    roughness: float
    metallic: float = 0.0
    transmission: float = 0.0
    bump: float = 0.0


@dataclass(frozen=True)
class Pips:
    """The marks of a die, in fractions of its side.

    Attributes:
        rgb: their colour.
        radius: of a pip.
        ace_radius: of the single pip of the one.
        ace_rgb: its colour.
        spread: from a face's middle to the outer pips' columns.
        depth: how deep they are drilled; 0 is printed.
        squareness: 0 is a disc, 1 a square.
    """

    rgb: Rgb
    radius: float
    ace_radius: float
    ace_rgb: Rgb
    spread: float
    depth: float
    squareness: float


@dataclass(frozen=True)
class Thing:
    """One object standing on the ground.

    Attributes:
        kind: `die`, `mesh`, or the shape of a distractor: `box`, `cylinder`, `hexagon`, `cone`, `ball`, `ring`.
        label: its class; None is never labelled.
        position: x, y on the ground.
        yaw_deg: its turn about z.
        size: length, width and height in world units; of a mesh, its largest extent three times.
        surface: of the body; None keeps a mesh's own materials.
        edge: how round the edges are, in fractions of the smallest side.
        faces: of a die, the values at +z, -z, +x, -x, +y, -y.
        pips: of a die.
        pip_turns: of a die, whether the marks of 2, 3 and 6 are turned by a quarter, for each of `faces`.
        pose: of a mesh, a number in 0..1 that chooses among its resting poses.
        source: of a mesh, its file.
        text: printed on top of a flat distractor, in the second colour of its surface.
    """

    kind: str
    label: str | None
    position: tuple[float, float]
    yaw_deg: float
    size: Vector
    surface: Surface | None
    edge: float = 0.0
    faces: tuple[int, ...] = ()
    pips: Pips | None = None
    pip_turns: tuple[bool, ...] = ()
    pose: float = 0.0
    source: str | None = None
    text: str = ""


@dataclass(frozen=True)
class Camera:
    """A pinhole with a 36 mm wide sensor.

    Attributes:
        position: where it is.
        roll_deg: its turn about the line of sight.
        focal_mm: 24 is wide, 80 is narrow.
        size_px: width and height of the image.
    """

    position: Vector
    roll_deg: float
    focal_mm: float
    size_px: int


@dataclass(frozen=True)
class Lamp:
    """An area light that points at the origin; `energy` is the irradiance it brings there, relative to the world's."""

    position: Vector
    size: float
    energy: float
    rgb: Rgb


@dataclass(frozen=True)
class Tray:
    """Four walls around the middle of the ground: half extents, height and thickness, world units; turned by yaw."""

    half_x: float
    half_y: float
    height: float
    thickness: float
    yaw_deg: float
    wall: Surface
    floor: Surface


@dataclass(frozen=True)
class Sensor:
    """What lens, sensor and camera software do to the light; see `sensor.py`.

    Attributes:
        mean_luminance: the exposure brings the image's mean linear luminance here.
        white_balance: gains of red, green, blue.
        vignette: share of light that the corners lose.
        blur_px: sigma of the lens blur.
        motion_px: length of the motion blur.
        motion_deg: its direction.
        detail: 1 keeps the pixels; 0.5 is a sensor of half the width, scaled up again.
        shot_noise: sigma at luminance 1, linear.
        read_noise: sigma at luminance 0, linear.
        contrast: of the tone curve; 1 is that of sRGB alone.
        saturation: 1 keeps it.
        sharpening: amount of the camera's unsharp mask.
        jpeg_quality: of the file.
        seed: of the noise.
    """

    mean_luminance: float
    white_balance: Rgb
    vignette: float
    blur_px: float
    motion_px: float
    motion_deg: float
    detail: float
    shot_noise: float
    read_noise: float
    contrast: float
    saturation: float
    sharpening: float
    jpeg_quality: int
    seed: int


@dataclass(frozen=True)
class SceneSpec:
    """One photo: drawn from (recipe, seed), and all that the renderer and the sensor are told.

    Attributes:
        recipe: what drew it.
        seed: of the image; its own number in a dataset.
        attempt: how often the scene was redrawn because something in it was too hidden to label.
        camera: where it is seen from.
        ground: what things stand on.
        tray: around them, if any.
        things: everything on the ground.
        world: name of an HDRI, its rotation in degrees and strength.
        lamps: more lights.
        samples: paths for each pixel.
        sensor: what happens to the light.

    Raises:
        ValueError: more than `MAX_LABELLED` labelled things.
    """

    recipe: str
    seed: int
    attempt: int
    camera: Camera
    ground: Surface
    tray: Tray | None
    things: tuple[Thing, ...]
    world: tuple[str, float, float]
    lamps: tuple[Lamp, ...]
    samples: int
    sensor: Sensor

    def __post_init__(self) -> None:
        labelled = sum(thing.label is not None for thing in self.things)
        if labelled > MAX_LABELLED:
            raise ValueError(f"the scene has {labelled} labelled things, the limit is {MAX_LABELLED}")

    def as_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON data."""
        return asdict(self)
