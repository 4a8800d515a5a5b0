# The service as an image. `docker compose up` builds and runs it. Models are mounted, not copied in.
# `--target slim` is for CPUs and has no torch; it serves releases that carry an OpenVINO engine. The default, `service`,
# is for CPUs and GPUs: torch's wheels contain CUDA, and the host has the driver.

FROM python:3.11-slim AS base
# Libraries that look up the user's name, such as torch, fail if the uid has none.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin rendersight
# A named volume that is mounted here inherits this owner.
RUN install -d -o 10001 -g 10001 /cache
# /tmp is the only writable folder if the root file system is read-only.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RENDERSIGHT_HOST=0.0.0.0 \
    RENDERSIGHT_PORT=8000
WORKDIR /srv/rendersight
EXPOSE 8000
# http.client ignores proxy variables, so the check always reaches the service itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['RENDERSIGHT_PORT']), timeout=4); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "app"]
# Each image installs its locked dependencies, from wheels, so it needs no compiler. It installs them in its own stage:
# copying torch's environment from another stage takes 95 s and 6 GB more.
COPY requirements/install /opt/

FROM base AS slim
COPY requirements/slim.txt /opt/
RUN /opt/install /opt/slim.txt
COPY LICENSE ./
COPY rendersight ./rendersight
COPY model_store ./model_store
COPY app ./app
COPY examples ./examples
# Make the files readable even if they were checked out with umask 077.
RUN chmod -R a+rX .
USER 10001:10001

FROM base AS service
COPY requirements/serve.txt /opt/
RUN /opt/install /opt/serve.txt
COPY LICENSE ./
COPY rendersight ./rendersight
COPY model_store ./model_store
COPY app ./app
COPY examples ./examples
RUN chmod -R a+rX .
USER 10001:10001
