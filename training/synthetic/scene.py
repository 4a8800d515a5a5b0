"""SceneSpec: the complete description of one rendered photo as plain data, independent of Blender.

One world unit is the side of a typical object. z is up and the ground is z = 0. Colours are linear RGB in 0..1.
Angles are in degrees; a turn in any direction is a unit quaternion w, x, y, z.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

MAX_LABELLED = 32767
"""Largest number of labelled things in a scene: Blender's object index is a signed 16-bit number."""

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Surface:
    """The material of a thing: fields of Blender's Principled BSDF, with a pattern of two colours.

    Attributes:
        pattern: `plain`, `noise`, `marble`, `wood`, `cells`, `checker`, `weave`, `print`, `dots`
            or `tiles`.
        rgb: first colour.
        rgb2: second colour; ignored for `plain`.
        scale: repeats of the pattern per world unit.
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
        rgb: colour of the pips.
        radius: radius of a pip.
        ace_radius: radius of the single pip on the face of value 1.
        ace_rgb: colour of that pip.
        spread: distance from a face's middle to its outer columns of pips.
        depth: drilled depth; 0 is printed.
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
class Die:
    """A six-sided die.

    Attributes:
        label: its class, the value that points up.
        position: x, y on the ground.
        yaw_deg: rotation about z.
        size: its side in world units, three times.
        surface: material of the body.
        edge: roundness of the edges, as a fraction of the side.
        faces: values at +z, -z, +x, -x, +y, -y.
        pips: marks on the faces.
        pip_turns: for each of `faces`, whether the marks of 2, 3 and 6 are turned by a quarter.
    """

    kind: ClassVar[str] = "die"
    label: str
    position: tuple[float, float]
    yaw_deg: float
    size: Vector
    surface: Surface
    edge: float
    faces: tuple[int, ...]
    pips: Pips
    pip_turns: tuple[bool, ...]


@dataclass(frozen=True)
class Mesh:
    """An object from a mesh file, in any pose.

    Attributes:
        label: its class.
        source: path of the file.
        position: x, y, z of the middle of its bounding box in its own axes.
        turn: rotation from its own axes, those of the file as Blender reads it: z is up, also that of an OBJ or glTF.
        scale: world units in one unit of the file.
        surface: material of a mesh that has no colours of its own.
        is_repainted: a mesh with colours of its own gets the surface too.
    """

    kind: ClassVar[str] = "mesh"
    label: str
    source: str
    position: Vector
    turn: Quaternion
    scale: float
    surface: Surface
    is_repainted: bool = False


@dataclass(frozen=True)
class Distractor:
    """A simple shape that is never labelled.

    Attributes:
        kind: `box`, `cylinder`, `hexagon`, `cone`, `ball` or `ring`.
        position: x, y on the ground.
        yaw_deg: rotation about z.
        size: length, width and height in world units.
        surface: its material.
        edge: roundness of a box's edges, as a fraction of the smallest side.
        text: text on the top of a flat shape, in the second colour of its surface.
    """

    kind: str
    position: tuple[float, float]
    yaw_deg: float
    size: Vector
    surface: Surface
    edge: float = 0.0
    text: str = ""


@dataclass(frozen=True)
class Assembly:
    """A thing of one or many parts, in any pose, that is never labelled.

    Attributes:
        parts: shapes, each with the height of its underside in the assembly's own axes.
        position: x, y, z of the middle of its bounding box in its own axes.
        turn: rotation from its own axes, a unit quaternion.
        scale: world units in one unit of the parts.
    """

    kind: ClassVar[str] = "assembly"
    parts: tuple[tuple[Distractor, float], ...]
    position: Vector
    turn: Quaternion
    scale: float


LabelledThing = Die | Mesh
StandingThing = Die | Distractor
Thing = StandingThing | Mesh | Assembly

_THING_JSON: dict[str, Any] = dict.fromkeys(("kind", "label", "position", "yaw_deg", "size", "surface")) | {
    "edge": 0.0,
    "faces": (),
    "pips": None,
    "pip_turns": (),
    "pose": 0.0,
    "source": None,
    "text": "",
}
"""Keys of a die or distractor in JSON, each with the value that stands for a missing field."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with a 36 mm wide sensor.

    Attributes:
        position: x, y, z in world units.
        roll_deg: rotation about the line of sight.
        focal_mm: focal length; 24 is wide, 80 is narrow.
        size_px: width and height of the image.
        target: the point in the middle of the image.
    """

    position: Vector
    roll_deg: float
    focal_mm: float
    size_px: int
    target: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Lamp:
    """An area light that points at the origin; `energy` is its irradiance there, relative to the world's light."""

    position: Vector
    size: float
    energy: float
    rgb: Rgb


@dataclass(frozen=True)
class Tray:
    """Four walls around the middle of the ground: half extents, height and thickness in world units, and yaw."""

    half_x: float
    half_y: float
    height: float
    thickness: float
    yaw_deg: float
    wall: Surface
    floor: Surface


@dataclass(frozen=True)
class Sensor:
    """Effects of lens, sensor and camera software on the light; `sensor.py` applies them.

    Attributes:
        mean_luminance: mean linear luminance of the image after exposure.
        white_balance: gains of red, green, blue.
        vignette: fraction of light lost in the corners.
        blur_px: sigma of the lens blur.
        motion_px: length of the motion blur.
        motion_deg: direction of the motion blur.
        detail: 1 keeps the pixels; 0.5 is a sensor of half the width, scaled up again.
        shot_noise: sigma at luminance 1, linear.
        read_noise: sigma at luminance 0, linear.
        contrast: contrast of the tone curve; 1 is sRGB alone.
        saturation: factor; 1 leaves colours unchanged.
        sharpening: amount of the camera's unsharp mask.
        jpeg_quality: quality of the file.
        seed: seed of the noise.
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
    """One photo, drawn from (recipe, seed): the complete input of the renderer and the sensor.

    Attributes:
        recipe: name of the recipe that drew it.
        seed: seed of the image, unique in a dataset.
        attempt: number of redraws because a die was too hidden or too small to be labelled.
        camera: the camera.
        ground: material of the ground.
        tray: walls around the things, if any.
        things: everything on the ground, at rest.
        world: name of an HDRI, its rotation in degrees and strength.
        lamps: additional lights.
        samples: paths per pixel.
        sensor: effects on the rendered light.

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
        if len(self.labelled) > MAX_LABELLED:
            raise ValueError(f"the scene has {len(self.labelled)} labelled things, the limit is {MAX_LABELLED}")

    @property
    def labelled(self) -> tuple[LabelledThing, ...]:
        """The labelled things, in the order of their numbers in the instance mask."""
        return tuple(thing for thing in self.things if isinstance(thing, Die | Mesh))

    def as_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON data. A camera that looks at the origin has no `target`."""
        camera = asdict(self.camera)
        if not any(self.camera.target):
            del camera["target"]
        return asdict(self) | {"camera": camera, "things": [thing_json(thing) for thing in self.things]}


def thing_json(thing: Thing) -> dict[str, Any]:
    """Return a thing as plain JSON data; dice and distractors have the same keys."""
    values = {"kind": thing.kind} | asdict(thing)
    return {"label": None} | values if isinstance(thing, Mesh | Assembly) else _THING_JSON | values
