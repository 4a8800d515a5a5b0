"""The vocabulary of Rendersight: images, detections, drawing and annotation files; needs neither torch nor FastAPI."""
