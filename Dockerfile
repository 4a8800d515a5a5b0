# The service as an image; `docker compose up` builds and runs it. Models are mounted, not copied in.
# Two of them: `slim` (docker build --target slim .) is for CPUs and has no torch; it serves releases that carry an
# OpenVINO engine. `service`, the whole one, is for CPU and GPU: torch's wheels bring CUDA along, the driver is the
# host's.

FROM python:3.11-slim AS base
# A name for the uid: libraries that look up the user's name (torch does) fail without one.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin rendersight
# A named volume that is mounted here takes over the owner.
RUN install -d -o 10001 -g 10001 /cache
# HOME is the one folder that may be written when the root file system is read-only.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RENDERSIGHT_HOST=0.0.0.0 \
    RENDERSIGHT_PORT=8000
WORKDIR /srv/rendersight
EXPOSE 8000
# http.client, because a proxy configured for the container must not stand between it and itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['RENDERSIGHT_PORT']), timeout=4); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "app"]
# Each image installs its locked dependencies, wheels alone, so no compiler is needed, and in the stage that it is made
# of: to copy the environment of torch into a bare base takes 95 s and 6 GB more.
COPY requirements/install /opt/

FROM base AS slim
COPY requirements/slim.txt /opt/
RUN /opt/install /opt/slim.txt
COPY LICENSE ./
COPY rendersight ./rendersight
COPY model_store ./model_store
COPY app ./app
COPY examples ./examples
# The user may read it also where the files were checked out for their owner alone (umask 077).
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
